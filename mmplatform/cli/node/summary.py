"""What ``mm status`` says of a node, whether it runs or not; read from what is in memory or in the folder."""

import os
import shutil
from contextlib import suppress
from typing import Any

from mmplatform.cli.node import outgoing
from mmplatform.errors import StorageGone
from mmplatform.platform import Platform
from mmplatform.plugins.installed import version


async def summary(platform: Platform) -> dict[str, Any]:
    """What holds for a running node and for a stopped one. Raises StorageGone when its folder is elsewhere by now."""
    assert platform.parts.folder is not None
    if gone := platform.parts.folder.gone():
        raise StorageGone(gone)
    peers = platform.peers()
    waiting, failed = platform.parts.inbox.counts()
    path = platform.parts.folder.path
    return {
        "signId": platform.sign_id,
        "folder": str(path),
        "version": version(),
        "known": len(peers),
        "connected": [{"signId": peer.sign_id, "name": peer.name} for peer in peers if peer.connected],
        "asking": len(platform.parts.friend_requests.listed()),
        "outbox": await outgoing.count(platform),
        "inbox": waiting,
        "failed": failed,
        "used": _size(path),
        "free": shutil.disk_usage(path).free,
    }


def _size(path: os.PathLike[str]) -> int:
    """Bytes of the files in a folder; some come and go meanwhile."""
    size = 0
    with os.scandir(path) as entries:
        for entry in entries:
            with suppress(OSError):
                size += entry.stat(follow_symlinks=False).st_size
    return size
