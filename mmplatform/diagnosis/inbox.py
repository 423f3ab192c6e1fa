"""Checks what this node keeps: messages that nobody listens to, those that handlers failed at, and who asks."""

from typing import Final

from mmplatform.platform import Platform
from mmplatform.plugins.check import Check, ok, warning

SUBJECT: Final = "inbox"
NAMED: Final = 3  # senders that are named


def examine(platform: Platform) -> list[Check]:
    """Check the inbox of a running node."""
    full, failed = platform.parts.inbox.full, platform.inbox.failed
    found: list[Check] = []
    if full:
        senders = ", ".join(platform.contacts.name(peer) or peer for peer in full[:NAMED])
        more = f" and {len(full) - NAMED} others" if len(full) > NAMED else ""
        found.append(
            warning(
                SUBJECT, "inbox-full",
                f"no more of {senders}{more} is kept: {_waiting(platform)}, and what they send stays with them",
                "have something listen to it (mm inbox shows the topics), or drop what nobody wants (mm inbox drop)",
            )
        )  # fmt: skip
    if failed:
        found.append(
            warning(
                SUBJECT, "messages-failed", f"handlers failed at {_counted(failed)}, and gave up",
                "mm inbox --failed shows their errors; mend the handler, then mm inbox retry ID, or mm inbox drop ID",
            )
        )  # fmt: skip
    if found:
        return found
    asking = len(platform.parts.friend_requests.listed())
    asks = f"; {asking} ask to be friends (mm peers --asking)" if asking else ""
    return [ok(SUBJECT, f"{_waiting(platform)}, no handler has failed{asks}")]


def _waiting(platform: Platform) -> str:
    waiting = platform.inbox.waiting
    return f"{_counted(waiting)} wait{'s' * (waiting == 1)} for a handler" if waiting else "nothing waits for a handler"


def _counted(number: int) -> str:
    return f"{number:,} messages" if number != 1 else "1 message"
