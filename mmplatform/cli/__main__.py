"""``python -m mmplatform.cli``, the same as ``mm``."""

import sys

from mmplatform.cli import mm

if __name__ == "__main__":
    sys.exit(mm())
