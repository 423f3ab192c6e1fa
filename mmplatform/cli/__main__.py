"""``python -m mmplatform.cli``, the same as ``mm``."""

import sys

from mmplatform.cli import main

if __name__ == "__main__":
    sys.exit(main())
