"""What programs put into the queues of the gateway of RMB, and what it remembers there itself."""

import json

from mm_services.rmb.gateway.backlog import Backlog, read_backlog, write_backlog
from mm_services.rmb.gateway.objects import MAX_DESTINATIONS, MAX_TTL, read_request, read_response, reply_of
from tests.fuzz.parsers import typed
from tests.fuzz.target import Run, target

NOW = 1_795_224_500
REQUEST = {
    "ver": 1,
    "ref": "r",
    "cmd": "calc.add",
    "exp": 60,
    "dat": "WzFd",
    "tag": "t",
    "dst": [30],
    "ret": "q",
    "now": NOW,
}
RESPONSE = {
    "ver": 1,
    "ref": "r",
    "dat": "WzFd",
    "dst": "10:js",
    "shm": "s",
    "now": NOW,
    "err": {"code": 1, "message": "m"},
}


@target(lambda: [json.dumps(REQUEST).encode(), json.dumps(REQUEST | {"exp": NOW + 60}).encode(), b"{}", b"[" * 900])
def rmb_gateway_request() -> Run:
    """What is asked has a bounded life and few destinations; what cannot be read may name where to say so."""

    def parse(data: bytes) -> None:
        queue, _ = reply_of(data)
        assert isinstance(queue, str)
        request = read_request(data, NOW)
        assert 0 < request.ttl <= MAX_TTL
        assert 0 < len(request.destinations) <= MAX_DESTINATIONS

    return typed(parse)


@target(lambda: [json.dumps(RESPONSE).encode(), b"{}"])
def rmb_gateway_response() -> Run:
    """What is answered."""
    return typed(read_response)


@target(lambda: [write_backlog(Backlog("u", "r", "q", 300)), write_backlog(Backlog("", None, "", 0))])
def rmb_gateway_backlog() -> Run:
    """What is read is what is written."""

    def parse(data: bytes) -> None:
        backlog = read_backlog(data)
        assert read_backlog(write_backlog(backlog)) == backlog

    return typed(parse)
