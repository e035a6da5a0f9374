"""What the Makefile asks of the library: `python -m trait_lib COMMAND --help`."""

from trait_lib.repo.commands import main

if __name__ == "__main__":
    main()
