"""Mail: what waits for a peer that is away is left, sealed, at its relays, and what was left for us is taken in."""

from collections.abc import Callable

from mmplatform.identity.keys import SignId


class Mailer:
    """The mail of one node, both ways."""

    def came(self, envelope: bytes, taken: Callable[[bool], None]) -> None:
        """An envelope for us; ``taken`` is called once it was handled and saved, or cannot be opened."""

    def ended(self, peer: SignId, mail_id: bytes, state: str) -> None:
        """What became of an envelope that we left for ``peer``."""

    def wake(self, peer: SignId) -> None:
        """There is room for mail to ``peer``, or news of it."""
