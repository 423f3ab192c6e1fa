"""Says which proxy leads to a host: the one that was named, else what the environment says, as curl reads it.

The environment has ``wss_proxy``, ``https_proxy``, ``ws_proxy``, ``http_proxy``, ``socks_proxy`` and ``all_proxy``, and
``no_proxy`` for hosts that are reached without one. Capitals do as well, and small letters win. Pure.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from mmplatform.errors import LocalError

HTTP: Final = ("http", "https")
SOCKS: Final = ("socks5", "socks5h")
PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}  # where nothing else is said
NAMED: Final = "the settings of this node"

_VARIABLES: Final = {
    True: ("wss_proxy", "socks_proxy", "https_proxy", "all_proxy"),
    False: ("ws_proxy", "socks_proxy", "https_proxy", "http_proxy", "all_proxy"),
}  # by whether TLS is spoken through it, in the order of the websockets library


class Proxy(NamedTuple):
    """A proxy: ``named_by`` whom. Only :attr:`text` is for people and logs: it has no password."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = ""
    named_by: str = NAMED

    @property
    def text(self) -> str:
        """Its URL, without user and password."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def __repr__(self) -> str:
        """Tell no password."""
        return f"<proxy {self.text}>"


def parse_proxy(url: str, named_by: str = NAMED) -> Proxy:
    """Return the parts of ``http://[USER:PASSWORD@]HOST[:PORT]``. Raises LocalError, which does not quote the URL."""
    text = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(text)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in PORTS or not host or port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
        raise LocalError(f"the proxy named by {named_by} is not {' or '.join(PORTS)}://[USER:PASSWORD@]HOST[:PORT]")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Proxy(scheme, host, port or PORTS[scheme], user, password, named_by)


def choose(named: str | None, environment: Mapping[str, str], host: str, port: int, tls: bool) -> Proxy | None:
    """Return the proxy that leads to ``host``, None for none. Raises LocalError for one of no use.

    Args:
        named: the URL of the proxy to use, "" for none, or None for what the environment says.
        environment: the variables of the process.
        host: a name, or an IP address.
        port: of the host.
        tls: whether TLS is spoken with it.

    """
    if named == "" or _is_excepted(_variable(environment, "no_proxy"), host, port):
        return None
    if named is not None:
        return parse_proxy(named)
    if _is_here(host):
        return None
    for variable in _VARIABLES[tls]:
        if url := _variable(environment, variable):
            return parse_proxy(url, variable)
    return None


def _variable(environment: Mapping[str, str], name: str) -> str:
    """The value of a variable; capitals count where there are no small letters."""
    if name in environment:
        return environment[name].strip()
    if name == "http_proxy" and "REQUEST_METHOD" in environment:
        return ""  # in a CGI program that is what the client said in its header "Proxy"
    return environment.get(name.upper(), "").strip()


def _is_here(host: str) -> bool:
    """Whether this is a host that no proxy but one on this machine could reach."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_excepted(no_proxy: str, host: str, port: int) -> bool:
    """Whether ``no_proxy`` names the host: by its name or the end of it, its address, a network, or ``*``."""
    return any(_fits(entry, host.lower(), port) for entry in re.split(r"[\s,]+", no_proxy.lower()) if entry)


def _fits(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass  # one of them is a name
    name, colon, wanted = entry.rpartition(":")
    if not (colon and wanted.isdigit()):
        name, wanted = entry, ""
    name = name.strip("[]").lstrip("*.")
    return bool(name) and (host == name or host.endswith(f".{name}")) and wanted in ("", str(port))
