"""The notebooks' own imports: `lesson` and `checks`."""

import sys
from pathlib import Path

TUTORIALS = Path(__file__).parents[2] / "tutorials"
if str(TUTORIALS) not in sys.path:
    sys.path.insert(0, str(TUTORIALS))
