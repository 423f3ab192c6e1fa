"""Where a platform lives: in one event loop, of one thread, of one process. Calls from elsewhere are errors at once."""

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Final

from mmplatform import forks
from mmplatform.errors import NotRunning, WrongLoop, WrongProcess

running_loop: Final = asyncio._get_running_loop  # None where none runs, and in forked children
OTHER_LOOP: Final = (
    "the platform belongs to another event loop, where it was first used; use it there, as with one asyncio.run() for "
    "the whole program, or make another Platform"
)


class Home:
    """The one event loop in which a platform is used: the first one. ``loop`` is None until then.

    Where every message passes, ``get_ident() == home.thread`` is asked before :meth:`check` is called; whether that
    loop runs is asked once a turn of it. ``thread`` is 0 until then, and in forked children.
    """

    __slots__ = ("__weakref__", "_name", "_process", "loop", "thread")

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread = self._process = 0
        self._name = ""

    def enter(self) -> None:
        """Live in the running event loop from now on. Raises WrongLoop or WrongProcess when that is another one."""
        if self.loop is not None or not self.here:
            self.check()
            return
        self.loop, self._process = asyncio.get_running_loop(), os.getpid()
        self.thread, self._name = threading.get_ident(), threading.current_thread().name
        forks.watch(self)

    def check(self) -> None:
        """Raise WrongLoop or WrongProcess when a call comes from elsewhere; before the first use, none does."""
        if threading.get_ident() == self.thread and self.loop is not None and self.loop.is_running():
            return
        if not self.here:
            raise WrongProcess(
                f"this is process {os.getpid()}, forked from process {self._process}, where the platform runs; make a "
                "Platform of its own here, with another folder, or send what is to be sent to that process"
            )
        if self.loop is None or (threading.get_ident() == self.thread and running_loop() is None):
            return
        raise WrongLoop(self._elsewhere())

    @property
    def here(self) -> bool:
        """Whether this is the process of the platform, and no forked child."""
        return self._process in (0, os.getpid())

    def later(self, call: Callable[[], None]) -> bool:
        """Make a call when the loop runs again, and return whether it did not run: a program may use its platform
        between two run_until_complete()."""
        if running_loop() is None and self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon(call)
            return True
        return False

    def reachable(self) -> asyncio.AbstractEventLoop:
        """Return the loop for a call from another thread. Raises NotRunning when it does not run, WrongLoop in it."""
        if not self.here:
            self.check()
        if self.loop is None:
            raise NotRunning("the platform does not run yet: start it first")
        if self.loop.is_closed():
            raise NotRunning("the platform has stopped, and runs once: make a new one to start again")
        if not self.loop.is_running():
            raise NotRunning("the event loop of the platform does not run now")
        if running_loop() is self.loop:
            raise WrongLoop(
                "this is the event loop of the platform, and waiting here would stop it; await the call itself, as in "
                "`await platform.messaging.send(...)`"
            )
        return self.loop

    def forked(self) -> None:
        """Be nowhere: this is a child."""
        if self.loop is not None:
            forks.part(self.loop)
        self.loop, self.thread = None, 0

    def _elsewhere(self) -> str:
        here = threading.current_thread().name
        if threading.get_ident() == self.thread:
            return OTHER_LOOP
        return (
            f"the platform runs in the event loop of the thread {self._name!r}, and this call came from {here!r}; from "
            "other threads use platform.threadsafe, as in platform.threadsafe.send(...)"
        )


def check_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Raise WrongLoop when another loop runs here: what is put into ``loop`` would wait. To be called once a turn."""
    if not loop.is_running() and running_loop() is not None:
        raise WrongLoop(OTHER_LOOP)
