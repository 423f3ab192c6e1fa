"""What the log says of a door that failed: where in its code, never with what, as that may be of a client."""

import logging
import traceback

log = logging.getLogger("mm_relay.doors")


def log_failure(door: str, error: Exception) -> None:
    """Log once for a connection. The text of ``error`` is left out: it may quote keys and payloads."""
    where = "".join(traceback.format_tb(error.__traceback__))
    log.warning("%s failed with %s; its connection ends\n%s", door, type(error).__name__, where.rstrip())
