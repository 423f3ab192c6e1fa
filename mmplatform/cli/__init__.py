"""mm, the command line: one file a group of commands. Importing it needs nothing, running it mm-platform[cli]."""

import signal
import sys

from mmplatform.cli.descriptors import fill_closed


def mm() -> int:
    """The entry point: runs the command and returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command can stop in good order: no traceback
    fill_closed()
    try:
        from mmplatform.cli.main import run

        return run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich", "segno"):
            raise
        sys.stderr.write(f"mm needs {error.name}, which is missing; install it with: pip install 'mm-platform[cli]'\n")
        return 1
