"""What the chat reads: what others say, names of their files, and a history that was damaged."""

import tempfile
from pathlib import Path

from mm_services.messenger.chat import payloads
from mm_services.messenger.chat.conversations import Conversations
from mm_services.messenger.chat.files import LONGEST, safe_name
from mm_services.messenger.chat.history import HistoryFile
from mm_services.messenger.chat.lines import ChatLine, LineState, line_record, record, state_record
from mmplatform import codec
from mmplatform.text import printable
from tests.fuzz.parsers import text, typed
from tests.fuzz.target import Run, target

BOB, EVE = "b" * 43 + "=", "e" * 43 + "="
SAID = [
    payloads.text("hi"), payloads.file("a.jpg", b"\xff"), payloads.ping("1f"), payloads.pong(payloads.ChatPing("1f"), 2)
]  # fmt: skip
HEARD = line_record(BOB, ChatLine(1.5, BOB, "hi", "9c", 2, 3.5, "/in/a"))
OURS = line_record(BOB, ChatLine(1.5, "", "hi"))
HISTORY = [
    HEARD + OURS + state_record(BOB, len(OURS), LineState.CARRIED, message_id="9d", peer=BOB),
    record({"group": "#1", "members": [BOB, EVE]}) + record({"seen": BOB}),
]


@target(lambda: map(codec.pack, SAID))
def chat_payload() -> Run:
    """It is one of four things, or nothing."""
    return typed(lambda data: payloads.parse(codec.decode(data)))


@target(lambda: [b"a.jpg", b"../../etc/passwd", b".x", b"con.txt", "\u202e.exe".encode()])
def chat_file_name() -> Run:
    def parse(data: bytes) -> None:
        safe = safe_name(text(data))
        assert 0 < len(safe.encode()) <= LONGEST + 1
        assert "/" not in safe
        assert not safe.startswith(".")
        assert printable(safe) == safe

    return typed(parse)


@target(lambda: HISTORY)
def chat_history() -> Run:
    """Whatever is in the file, what is appended is read again, and each line that there is can be shown."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "chat.jsonl"

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        history = HistoryFile(path)
        history.open()
        talks = Conversations(history)
        talks.load()
        place = history.append(b"{}\n")
        assert history.read(place) == b"{}"
        for talk in talks.by_key.values():
            for number in range(talk.first, talk.end):
                talks.line(talk, number)
        history.close()
        assert folder.name

    return typed(parse)
