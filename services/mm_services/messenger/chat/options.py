"""How a chat is begun. It needs nothing of a node: the window is painted before one is imported."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class ChatOptions(NamedTuple):
    """What was said on the command line.

    Args:
        folder: the data folder of the node, which this process runs: no other one may.
        destination: to whom what is typed goes at first, "" for everybody.
        keeps_history: whether lines are kept on disk, and those that were kept before are there.
        incoming: the folder for files of others, None for one in the data folder.
        relays: as those of mm run.

    """

    folder: Path
    destination: str = ""
    keeps_history: bool = True
    incoming: Path | None = None
    relays: Sequence[str] = ()
