"""The commands of the core, in the order one needs them: where each is, and its first line of help.

Nothing is imported here, so that completion and ``mm --help`` answer at once. A test holds every line to the command.
"""

from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any, Final

from mmplatform.cli.lazy import LazyCommand

HIDDEN: Final = ""
COMMANDS: Final = (  # name, file of commands/ and what it is called there, first line of help
    ("id", "contacts:identity", "Print our address, the signId."),
    ("add", "contacts:add", "Know a peer by its TICKET, signId or name here; - reads it from stdin."),
    ("peers", "contacts:peers", "List whom we know, how each was found, and whether there is a link."),
    ("accept", "contacts:accept", "Make a friend of PEER, who has added us as one: mm peers --asking lists them."),
    ("rename", "people:rename", 'Call PEER by another NAME here; "" takes its name away.'),
    ("move", "people:move", "Make PEER a friend, a device of yours, or neither: what it sends arrives as friends., "
     "self. or public.TOPIC."),
    ("remove", "people:remove", "Forget PEER: its circles, its name and where it is."),
    ("block", "people:block", "Have nothing to do with PEER any more: no link, no mail, no message."),
    ("unblock", "people:unblock", "Let PEER, who was blocked, be a stranger again; mm move makes it more."),
    ("list", "lists:lists", "Show your lists: @family and the like, to send to several peers at once."),
    ("run", "run:run_node", "Run the node in the foreground until Ctrl-C; other mm commands on the same data folder "
     "use it."),
    ("status", "status:status", "Say on one screen who this node is, whether it runs, where it is reached and what "
     "waits."),
    ("send", "messages:send", "Send PAYLOAD (text; - or nothing reads stdin) to the listeners of TOPIC at PEER."),
    ("on", "on:listen", "Print messages whose scope.topic matches PATTERN (* is one segment, > the rest), one a line."),
    ("request", "messages:request", "Ask PEER and print the answer of whoever serves TOPIC there."),
    ("ping", "messages:ping", "Measure the round trip to PEER, through the encrypted session."),
    ("inbox", "inbox:inbox", "List what friends and devices sent and nobody here has listened to yet, the oldest first "
     "within each topic."),
    ("outbox", "outbox:outbox", "List what has not ended, oldest first for each peer, and why: what waits here, is on "
     "its way, or at a relay."),
    ("delivery", "outbox:delivery", "Tell how far the message ID is that was sent from here, or how it ended."),
    ("doctor", "doctor:doctor", "Say what is wrong with the node here, or with the way to a PEER, and what to do about "
     "it."),
    ("backup", "backup:backup", "Save all that is needed to be the same node again in one FILE (- for stdout), also "
     "while it runs."),
    ("restore", "backup:restore", "Make the data folder anew from FILE (- for stdin), which mm backup has written."),
    ("demo", "demo:demo", "Two encrypted peers, one is killed and the link is cut: nothing is lost, repeated or out of "
     "order."),
    ("demo-receive", "demo:receive", HIDDEN),
    ("completion", "completion:completion", "Print the script that completes mm commands in a shell."),
)  # fmt: skip


def commands() -> Iterator[LazyCommand]:
    """Give what stands for each command until it is used."""
    for name, place, summary in COMMANDS:
        yield LazyCommand(name, partial(_imported, place), summary, summary == HIDDEN)


def _imported(place: str) -> Any:
    file, _, name = place.partition(":")
    return getattr(import_module(f"mmplatform.cli.commands.{file}"), name)
