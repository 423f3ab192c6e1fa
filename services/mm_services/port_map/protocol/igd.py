"""The requests and answers of a UPnP Internet Gateway Device, as far as a port takes them.

A router is asked where its description is (SSDP), for that (HTTP), and then to map (SOAP). Whatever it says, only the
router itself is asked for anything: of its URLs the port and the path count. XML is searched, never parsed, so that it
has no entities to blow up.
"""

import re
from ipaddress import IPv4Address
from typing import Final, NamedTuple
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from mmplatform.errors import ProtocolError
from mmplatform.text import escaped

PORT: Final = 1900
GROUP: Final = "239.255.255.250"
MOST: Final = 64 * 1024  # bytes of an answer of a router
SEARCH: Final = (
    f'M-SEARCH * HTTP/1.1\r\nHOST: {GROUP}:{PORT}\r\nMAN: "ssdp:discover"\r\nMX: 1\r\n'
    "ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n"
).encode()
ONLY_PERMANENT: Final = "725"  # the error of routers that lend no ports
NOT_MAPPED: Final = "714"  # the error for a port that leads nowhere

_LOCATION: Final = re.compile(rb"(?im)^location:[ \t]*(\S{1,256})[ \t]*\r?$")
_KIND: Final = re.compile(
    rb"<serviceType>\s*(urn:schemas-upnp-org:service:WAN(?:IP|PPP)Connection:\d)\s*</serviceType>"
)
_CONTROL: Final = re.compile(rb"<controlURL>\s*([!-;=-~]{1,256})\s*</controlURL>")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")
_ERROR: Final = re.compile(rb"<errorCode>\s*(\d{1,5})\s*</errorCode>")
_OUTSIDE: Final = re.compile(rb"<NewExternalIPAddress[^>]{0,100}>\s*([\d.]{7,15})\s*</NewExternalIPAddress>")


class Control(NamedTuple):
    """Where at the router the service that maps ports takes orders."""

    port: int
    path: str
    kind: str


def read_location(answer: bytes, router: str) -> tuple[int, str]:
    """Return port and path of the description of ``router``. Raises ProtocolError for one that is elsewhere."""
    found = _LOCATION.search(answer)
    return _at_router(found[1].decode("ascii", "replace") if found is not None else "", router)


def read_control(description: bytes, port: int, router: str) -> Control:
    """Return where orders go, from the description that was at ``port`` of ``router``. Raises ProtocolError."""
    for service in _services(description):
        kind, control = _KIND.search(service), _CONTROL.search(service)
        if kind is not None and control is not None:
            where = control[1].decode()
            at, path = _at_router(where, router) if "://" in where else (port, f"/{where.lstrip('/')}")
            return Control(at, path, kind[1].decode())
    raise ProtocolError("bad-answer", "the router says of itself that it maps no ports")


def get(path: str, router: str, port: int) -> bytes:
    """Return the request for a page."""
    return f"GET {path} HTTP/1.0\r\nHost: {router}:{port}\r\n\r\n".encode()


def order(control: Control, router: str, action: str, **arguments: object) -> bytes:
    """Return the request for an action."""
    inner = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in arguments.items())
    body = (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
        ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
        f'<u:{action} xmlns:u="{control.kind}">{inner}</u:{action}></s:Body></s:Envelope>'
    )
    return (
        f'POST {control.path} HTTP/1.0\r\nHost: {router}:{control.port}\r\nContent-Type: text/xml; charset="utf-8"\r\n'
        f'SOAPAction: "{control.kind}#{action}"\r\nContent-Length: {len(body)}\r\n\r\n{body}'
    ).encode()


def read_page(answer: bytes) -> bytes:
    """Return the body of an answer that is no error. Raises ProtocolError; of an action ``reason`` is its number."""
    status = _STATUS.match(answer)
    head, _, body = answer.partition(b"\r\n\r\n")
    if status is None or not head:
        raise ProtocolError("bad-answer", "what answers there does not speak HTTP")
    if status[1] != b"200":
        error = _ERROR.search(body)
        number = error[1].decode() if error is not None else escaped(status[1].decode())
        raise ProtocolError(number, "the router declines")
    return body


def read_outside(body: bytes) -> IPv4Address:
    """Return the outside address. Raises ProtocolError."""
    found = _OUTSIDE.search(body)
    try:
        return IPv4Address(found[1].decode() if found is not None else "")
    except ValueError:
        raise ProtocolError("bad-answer", "the router does not tell its outside address") from None


def _services(description: bytes) -> list[bytes]:
    """Return what each service holds, in one pass: an expression would look for every end from every beginning."""
    begun = (piece.partition(b"</service>") for piece in description.split(b"<service>")[1:])
    return [inner for inner, end, _ in begun if end]


def _at_router(url: str, router: str) -> tuple[int, str]:
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:
        raise ProtocolError("bad-answer", "the router names no URL") from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme != "http" or parts.hostname != router or not re.fullmatch(r"[!-~]{1,256}", path):
        raise ProtocolError("elsewhere", "what answers names another host than the router, which is not asked")
    return port, path
