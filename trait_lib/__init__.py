"""TRAIT (arXiv 2406.16694): the helper library behind the numbered notebooks.

The notebooks tell the story; this package holds what would drown their reader.
Rooms are named after the paper's stages; CONTRIBUTING.md has the map. A stage's room imports from
shared rooms and never from another stage's.
"""

import warnings
from pathlib import Path

__version__ = "0.1.0"

ROOT: Path = Path(__file__).resolve().parents[1]
"""The repository's top folder; nothing in the project relies on the working directory."""

# tqdm asks for a widget library in every kernel; the plain bar is meant
warnings.filterwarnings("ignore", message="IProgress not found")
