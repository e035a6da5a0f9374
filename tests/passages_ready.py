"""Loaded for `prepared`: what a process that checks passages makes ready at its first one."""

from trait_lib.contamination import index
from trait_lib.passages import language

index.letters("the compiled search, and its table of code points")
language.check_code("en")
