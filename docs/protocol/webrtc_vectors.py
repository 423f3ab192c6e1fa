"""Vectors of webrtc.rst, for make_vectors.py; like it a second implementation, which never uses mmplatform."""

from hashlib import sha256
from typing import Any

Case = dict[str, Any]

ATTEMPT = sha256(b"an attempt").digest()[:8]
UFRAG, PASSWORD = "aB3+", "0123456789abcdefABCDEF+/"
FINGERPRINT = ":".join(f"{byte:02X}" for byte in sha256(b"a certificate").digest())
HOST = "candidate:1 1 udp 2130706431 10.9.0.1 50000 typ host"
REFLEXIVE = "candidate:2 1 udp 1694498815 192.0.2.7 40000 typ srflx raddr 0.0.0.0 rport 9"
NAMED = "candidate:3 1 udp 2113937151 0b9e2c6a-1f2d-4c3b-9a8e-7d6c5b4a3f21.local 50001 typ host"
SIX = "candidate:4 1 udp 2130706175 2001:db8::7 50002 typ host"


def webrtc_json() -> Case:
    return {
        "specification": "docs/protocol/webrtc.rst",
        **signals(),
        "descriptions": [
            {"name": name, "sdp": text, **FIELDS, "setup": setup, "candidates": candidates, "complete": complete}
            for name, text, setup, candidates, complete in DESCRIPTIONS
        ],
        "foreignDescriptions": [
            {"name": name, "sdp": text, "writtenAnew": anew} for name, text, anew in foreign()
        ],
        "invalidDescriptions": [{"name": name, "sdp": text} for name, text in invalid()],
        "usefulCandidates": [{"name": name, "line": line} for name, line in USEFUL],
        "uselessCandidates": [{"name": name, "line": line} for name, line in USELESS],
        "invalidCandidates": [{"name": name, "line": line} for name, line in INVALID],
        **pieces(),
    }  # fmt: skip


def signals() -> Case:
    return {
        "signals": [
            {"name": name, "kind": kind, "attempt": ATTEMPT.hex(), "body": body, "hex": signal(kind, body).hex()}
            for name, kind, body in (
                ("offer", 1, sdp()),
                ("answer", 2, sdp(setup="active")),
                ("candidate", 3, HOST),
                ("the last candidate was said", 3, ""),
                ("end", 4, "gone"),
                ("the longest", 1, "v" * (16384 - 10)),
            )
        ],
        "invalidSignals": [
            {"name": name, "hex": data.hex()}
            for name, data in (
                ("nothing", b""),
                ("short", signal(3, "")[:-1]),
                ("too long", signal(1, "v" * (16384 - 9))),
                ("another version", b"\2" + signal(4, "gone")[1:]),
                ("kind 0", signal(0, "")),
                ("kind 5", signal(5, "")),
                ("not ASCII", signal(1, "") + "\u00e9".encode()),
                ("end without a reason", signal(4, "")),
                ("a reason that is no word", signal(4, "Gone away")),
                ("a reason that is too long", signal(4, "a" * 33)),
            )
        ],
    }


def pieces() -> Case:
    return {
        "pieces": [
            {"name": name, "frame": frame.hex(), "size": size, "pieces": [piece.hex() for piece in cut(frame, size)]}
            for name, frame, size in (
                ("nothing", b"", 1200),
                ("one byte", b"x", 1200),
                ("just one piece", bytes(1199), 1200),
                ("a byte more", bytes(1199) + b"x", 1200),
                ("three pieces", sha256(b"a frame").digest() * 90, 1200),
                ("two full pieces", sha256(b"a frame").digest()[:22] * 109, 1200),
            )
        ],
        "lenientPieces": [
            {"name": "short pieces", "pieces": ["0061", "0062", "0163"], "frame": b"abc".hex()},
            {"name": "nothing at the end", "pieces": ["006162", "01"], "frame": b"ab".hex()},
        ],
        "invalidPieces": [
            {"name": "an empty message", "pieces": [""], "reason": "bad-piece"},
            {"name": "kind 5", "pieces": ["05"], "reason": "bad-piece"},
            {"name": "an empty part", "pieces": ["00"], "reason": "bad-piece"},
            {"name": "a ping with something in it", "pieces": ["0200"], "reason": "bad-piece"},
            {"name": "a pong with something in it", "pieces": ["0300"], "reason": "bad-piece"},
        ],
    }


FIELDS: Case = {"ufrag": UFRAG, "password": PASSWORD, "fingerprint": FINGERPRINT}


def signal(kind: int, body: str) -> bytes:
    return b"\1" + kind.to_bytes(1) + ATTEMPT + body.encode()


def sdp(*candidates: str, setup: str = "actpass", complete: bool = True) -> str:
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=group:BUNDLE 0"]
    lines += ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0"]
    lines += [f"a={candidate}" for candidate in candidates] + ["a=end-of-candidates"] * complete
    lines += [f"a=ice-ufrag:{UFRAG}", f"a=ice-pwd:{PASSWORD}", f"a=fingerprint:sha-256 {FINGERPRINT}"]
    lines += [f"a=setup:{setup}", "a=mid:0", "a=sctp-port:5000", "a=max-message-size:65536"]
    return "".join(f"{line}\r\n" for line in lines)


def cut(frame: bytes, size: int) -> list[bytes]:
    parts = [frame[start : start + size - 1] for start in range(0, len(frame), size - 1)] or [b""]
    return [b"\0" + part for part in parts[:-1]] + [b"\1" + parts[-1]]


DESCRIPTIONS: list[tuple[str, str, str, list[str], bool]] = [
    ("offer", sdp(HOST), "actpass", [HOST], True),
    ("answer", sdp(REFLEXIVE, HOST, SIX, setup="active"), "active", [REFLEXIVE, HOST, SIX], True),
    ("more candidates to come", sdp(NAMED, complete=False), "actpass", [NAMED], False),
    ("no candidates", sdp(setup="passive"), "passive", [], True),
]


def foreign() -> list[tuple[str, str, str]]:
    """As other implementations write them, and what is left of them."""
    extra = "a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\nm=application"
    tcp = "candidate:9 1 tcp 1518280447 10.9.0.1 9 typ host tcptype active generation 0"
    chromium = sdp(NAMED + " generation 0 network-cost 999", tcp, complete=False).replace("m=application", extra)
    sha512 = "a=fingerprint:sha-512 " + ":".join(["AB"] * 64) + "\r\n"
    many = [f"candidate:{n} 1 udp {n} 10.9.0.{n} 50000 typ host" for n in range(1, 15)]
    names = [NAMED.replace("0b9e", f"0b9{n}") for n in range(5)]
    return [
        ("a browser's", chromium, sdp(NAMED, complete=False)),
        ("line feeds only", sdp(HOST).replace("\r\n", "\n"), sdp(HOST)),
        ("fingerprint in lower case", sdp(HOST).replace(FINGERPRINT, FINGERPRINT.lower()), sdp(HOST)),
        ("several fingerprints", sdp(HOST).replace("a=setup", sha512 + "a=setup"), sdp(HOST)),
        ("of two the first", sdp(HOST) + "a=ice-ufrag:other\r\na=mid:1\r\n", sdp(HOST)),
        ("defaults", sdp(HOST).replace("a=sctp-port:5000\r\na=max-message-size:65536\r\n", ""), sdp(HOST)),
        ("too many candidates", sdp(*many, REFLEXIVE), sdp(REFLEXIVE, *many[:9])),
        ("too many names", sdp(*names), sdp(*names[:3])),
        ("one candidate twice", sdp(HOST, HOST), sdp(HOST)),
    ]


def invalid() -> list[tuple[str, str]]:
    good = sdp(HOST)
    audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
    required = ["ice-ufrag", "ice-pwd", "fingerprint", "setup", "mid"]
    return [
        ("nothing", ""),
        ("no version", good.removeprefix("v=0\r\n")),
        ("two media", good + audio),
        ("no media", good.replace("m=application", "x=application")),
        ("audio", good.replace("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", audio)),
        ("too many lines", good + "a=x\r\n" * 200),
        *((f"no {name}", good.replace(f"a={name}:", "a=x:")) for name in required),
        ("short ufrag", good.replace(UFRAG, "abc")),
        ("ufrag with a blank", good.replace(UFRAG, "ab cd")),
        ("short password", good.replace(PASSWORD, "a" * 21)),
        ("short fingerprint", good.replace(FINGERPRINT, FINGERPRINT[3:])),
        ("fingerprint of another hash only", good.replace("sha-256", "sha-1")),
        ("unknown setup", good.replace("actpass", "holdconn")),
        ("mid with a blank", good.replace("mid:0", "mid:0 1")),
        ("port 0", good.replace("port:5000", "port:0")),
        ("port above", good.replace("port:5000", "port:65536")),
        ("port that is no number", good.replace("port:5000", "port:+5")),
        ("messages too small", good.replace("size:65536", "size:1199")),
        ("a candidate that is none", good.replace(HOST, "candidate:1 1 udp")),
    ]


def candidate(
    address: str = "10.9.0.1", port: str = "50000", transport: str = "udp", kind: str = "host", component: str = "1"
) -> str:
    return f"candidate:1 {component} {transport} 1 {address} {port} typ {kind}"


USEFUL = [
    ("host", HOST), ("server reflexive", REFLEXIVE), ("a name of mDNS", NAMED), ("IPv6", SIX),
    ("relay", candidate(kind="relay")), ("UDP in capitals", candidate(transport="UDP")),
    ("the lowest port", candidate(port="1024")), ("the highest port", candidate(port="65535")),
]  # fmt: skip
USELESS = [
    ("TCP", candidate(transport="tcp")), ("component 2", candidate(component="2")),
    ("peer reflexive", candidate(kind="prflx")), ("port of a service", candidate(port="1023")),
    ("port 0", candidate(port="0")), ("loopback", candidate("127.0.0.1")), ("loopback 6", candidate("::1")),
    ("multicast", candidate("224.0.0.251")), ("multicast 6", candidate("ff02::1")),
    ("unspecified", candidate("0.0.0.0")),  # noqa: S104
    ("unspecified 6", candidate("::")),
    ("broadcast", candidate("255.255.255.255")), ("reserved", candidate("240.0.0.1")),
    ("link-local", candidate("169.254.169.254")), ("link-local 6", candidate("fe80::1")),
    ("scoped", candidate("2001:db8::1%eth0")), ("IPv4 mapped", candidate("::ffff:10.9.0.1")),
    ("a name", candidate("internal.example")), ("a name in .local", candidate("printer.local")),
]  # fmt: skip
INVALID = [
    ("nothing", ""), ("another word", HOST.replace("candidate", "candidature")), ("short", "candidate:1 1 udp 1"),
    ("no typ", HOST.replace(" typ ", " type ")), ("port above", candidate(port="65536")),
    ("port that is no number", candidate(port="x")), ("negative port", candidate(port="-1")),
    ("priority above", HOST.replace("2130706431", "4294967296")),
    ("foundation", HOST.replace("candidate:1", "candidate:-")),
]  # fmt: skip
