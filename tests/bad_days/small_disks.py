"""Small disks of days, which can be full."""

import os
import subprocess

from tests.bad_days.scene import LeftOut, Scene
from tests.support.disks import Disk


def small_disk(scene: Scene, mebibytes: int = 6, name: str = "disk") -> Disk:
    """Mount one at a folder of the scene, until the day is over. Raises LeftOut where only root may."""
    path = scene.folder / name
    path.mkdir()
    if os.geteuid():
        raise LeftOut("a small disk needs root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}M,mode=700", "tmpfs", str(path)], check=True)
    scene.stack.callback(subprocess.run, ["umount", "-l", str(path)], check=True)
    return Disk(path)
