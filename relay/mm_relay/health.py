"""Says whether the store of a relay keeps mail: writes to it every few seconds, and tells what is wrong with it.

What is wrong is told when it begins, once a minute, and when it is over. Who asks ``/healthz`` hears the kind of it and
no name, address or path: strangers may ask, too.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from mm_relay.metrics import Metrics
from mm_relay.stores.contract import MailStore, StoreUnsafe
from mmplatform.errors import StorageCorrupt, StorageError, StorageFull, StorageGone, StorageReadOnly

LOOK_AT_STORE: Final = 5.0  # seconds between two looks
ANSWER_WITHIN: Final = 5.0  # seconds for the answer to one
LOOK_WHILE_DOWN: Final = 2.0  # seconds between two looks at one that fails; SQLite frees its disk when idle for one
AGAIN: Final = 60.0  # seconds after which what is still wrong is told again

_KINDS: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (StorageFull, "full", "no room is left where mail is kept: free some, taking mail frees it too"),
    (StorageReadOnly, "read-only", "what keeps the mail is read-only: a disk without rights, or a replica of Redis"),
    (StorageCorrupt, "damaged", "what keeps the mail is damaged: restore a copy"),
    (StorageGone, "removed", "the folder was removed while the relay runs: put it back, or restore a copy and restart"),
    (StoreUnsafe, "unsafe", ""),
    (TimeoutError, "no-answer", "what keeps the mail does not answer"),
    (StorageError, "failing", "what keeps the mail fails: the log of the relay says how"),
)


class StoreHealth:
    """The health of ``store``. ``tell`` takes lines for the operator; ``clock`` gives seconds."""

    def __init__(
        self, store: MailStore, metrics: Metrics, tell: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self._store, self._metrics, self._tell, self._clock = store, metrics, tell, clock
        self._errors = 0
        self._since = self._told = 0.0
        self.reason = "starting: nothing was written yet"  # "" when the last look found nothing wrong

    async def watch(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(LOOK_WHILE_DOWN if self.reason else LOOK_AT_STORE)
            await self.look()

    async def look(self) -> None:
        """Write to the store, and take note of what comes of it."""
        before, self._errors = self._errors, self._metrics.store_errors
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._store.check()
        except (StorageError, TimeoutError) as error:
            self._fails(error)
            return
        if self._metrics.store_errors > before:
            self._fails(StorageError("calls of it failed since the last look"))
        elif self.reason:
            self._works()

    def _fails(self, error: Exception) -> None:
        word, text = kind_of(error)
        now = self._clock()
        changed = not self.reason.startswith(f"{word}:")
        self.reason = f"{word}: {text}"
        self._metrics.store_trouble = word
        if not self._since:
            self._since = now
        if changed or now - self._told >= AGAIN:
            lasted = f", for {now - self._since:.0f} s now" if now > self._since else ""
            self._told = now
            self._tell(f"the store of mail fails{lasted}, and none is taken in ({word}): {str(error) or text}")

    def _works(self) -> None:
        self.reason = self._metrics.store_trouble = ""
        if self._since:
            self._tell(f"the store of mail works again, after {self._clock() - self._since:.0f} s")
        self._since = 0.0


def kind_of(error: Exception) -> tuple[str, str]:
    """Return the word for what is wrong, and a sentence that strangers may read."""
    for kind, word, text in _KINDS:
        if isinstance(error, kind):
            return word, text or str(error)
    return "failing", "what keeps the mail fails"
