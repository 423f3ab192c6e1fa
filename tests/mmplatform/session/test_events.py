"""events.py: an event shown in a log shows no frame, no resume state, no key."""

from mmplatform.session.events import Send
from tests.support.sessions import Pair


def test_repr_shows_no_bytes_of_the_link() -> None:
    pair = Pair(resume=(b"client-resume", b"server-resume"))
    pair.established()
    shown = repr([pair.at_client, pair.at_server, Send(pair.ready_frame)])
    assert "resume" not in shown
    assert repr(pair.ready_frame[:8])[2:-1] not in shown
    assert pair.at_client.session._seal_key.hex() not in shown
