"""Puts src/ on the path if alexnet is not installed. Import this module before alexnet."""

import sys
from importlib import util
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"

if util.find_spec("alexnet") is None:
    sys.path.insert(0, str(SOURCE))
