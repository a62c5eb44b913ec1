"""Puts this checkout's src/ on the path, also where another one is installed.

Import this module before alexnet.
"""

import os
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"

sys.path.insert(0, str(SOURCE))
# For the programs that a script starts.
paths = (str(SOURCE), os.environ.get("PYTHONPATH"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
