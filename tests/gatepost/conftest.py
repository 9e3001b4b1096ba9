"""What these tests share with those of actions is found there."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "actions"))
