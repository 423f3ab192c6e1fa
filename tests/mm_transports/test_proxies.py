"""Which proxy leads to a host: the named one, what the environment says, and what needs none."""

import pytest

from mm_transports.proxies import NAMED, Proxy, choose, parse_proxy
from mmplatform.errors import LocalError

HOST = "relay.example"


def chosen(environment: dict[str, str], host: str = HOST, port: int = 443, tls: bool = True) -> str:
    found = choose(None, environment, host, port, tls)
    return found.text if found is not None else ""


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://p:3128", Proxy("http", "p", 3128)),
        ("p:3128", Proxy("http", "p", 3128)),
        ("http://p", Proxy("http", "p", 80)),
        ("https://p/", Proxy("https", "p", 443)),
        ("socks5h://[::1]", Proxy("socks5h", "::1", 1080)),
        ("http://a%40b:c%3Ad@p:1", Proxy("http", "p", 1, "a@b", "c:d")),
        ("http://token@p:1", Proxy("http", "p", 1, "token", "")),
    ],
)
def test_urls(url: str, proxy: Proxy) -> None:
    assert parse_proxy(url) == proxy


@pytest.mark.parametrize(
    "url", ["ftp://s3cret:s3cret@p", "http://s3cret:s3cret@", "http://s3cret@p:x", "http://s3cret@p:0", "socks4://s3cret@p",
            "http://s3cret@p/path", "http://s3cret@p?q", "http://s3cret@[p", ""],
)  # fmt: skip
def test_what_is_no_proxy_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(LocalError, match="is not http or https or socks5") as told:
        parse_proxy(url, "https_proxy")
    assert "https_proxy" in str(told.value)
    assert "s3cret" not in str(told.value)


def test_a_password_is_in_no_text_and_no_repr() -> None:
    proxy = parse_proxy("http://alice:s3cret@[fd00::1]:3128")
    assert proxy.text == "http://[fd00::1]:3128"
    assert "s3cret" not in f"{proxy!r} {[proxy]}"


def test_variables_in_their_order() -> None:
    said = {
        name: f"http://{name.replace('_', '-')}:1" for name in ("all_proxy", "https_proxy", "socks_proxy", "wss_proxy")
    }
    found = []
    while said:
        found.append(chosen(said))
        said.popitem()
    assert found == ["http://wss-proxy:1", "http://socks-proxy:1", "http://https-proxy:1", "http://all-proxy:1"]
    assert chosen({"http_proxy": "http://p:1"}) == ""
    assert chosen({"http_proxy": "http://p:1"}, tls=False) == "http://p:1"


def test_small_letters_win_and_an_empty_one_says_none() -> None:
    assert chosen({"HTTPS_PROXY": "http://big:1"}) == "http://big:1"
    assert chosen({"HTTPS_PROXY": "http://big:1", "https_proxy": "http://small:1"}) == "http://small:1"
    assert chosen({"HTTPS_PROXY": "http://big:1", "https_proxy": ""}) == ""


def test_what_a_client_of_a_cgi_program_says_is_no_proxy() -> None:
    assert chosen({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, tls=False) == ""
    assert chosen({"HTTP_PROXY": "http://p:1"}, tls=False) == "http://p:1"


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("*", HOST, True),
        ("relay.example", HOST, True),
        ("RELAY.example", HOST, True),
        (".example", HOST, True),
        ("example", HOST, True),
        ("*.example", HOST, True),
        ("other.example, example", HOST, True),
        ("relay.example:443", HOST, True),
        ("relay.example:80", HOST, False),
        ("elay.example", HOST, False),
        ("other", HOST, False),
        ("", HOST, False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("fd00::/8", "fd00::1", True),
        ("[fd00::1]", "fd00::1", True),
        ("[fd00::1]:443", "fd00::1", True),
        ("::/0", "10.1.2.3", False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, direct: bool) -> None:
    for variable in ("no_proxy", "NO_PROXY"):
        assert (chosen({"all_proxy": "http://p:1", variable: no_proxy}, host) == "") is direct


@pytest.mark.parametrize("host", ["localhost", "relay.localhost", "127.0.0.1", "::1"])
def test_the_environment_is_not_asked_for_this_machine(host: str) -> None:
    assert chosen({"all_proxy": "http://p:1"}, host) == ""
    assert choose("http://p:1", {}, host, 443, True) == Proxy("http", "p", 1)


def test_the_named_one_goes_before_the_environment() -> None:
    environment = {"all_proxy": "http://p:1"}
    named = choose("socks5://named", environment, HOST, 443, True)
    assert named is not None
    assert (named.text, named.named_by) == ("socks5://named:1080", NAMED)
    assert choose("", environment, HOST, 443, True) is None
    assert choose("socks5://named", {"no_proxy": HOST}, HOST, 443, True) is None
