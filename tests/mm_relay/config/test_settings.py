"""Settings: from files and flags, and what is said of wrong ones."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_relay.commands import relay
from mm_relay.config.settings import NAMES, PARSERS, Config, beyond_this_machine, load
from mm_transports.relay.protocol.address import format_relay
from mm_transports.relay.protocol.items import MAX_FRAME, MAX_MAIL
from mmplatform.errors import LocalError
from mmplatform.identity.keys import Identity

ONE = Identity.from_seed(bytes(32))
ADDRESS = format_relay("wss://relay.example/", ONE.sign_id)


def test_no_setting_is_needed() -> None:
    config = load({})
    assert config == Config()
    assert config.address == ("127.0.0.1", 8080)
    assert config.url(8080) == "ws://127.0.0.1:8080/"
    assert not beyond_this_machine(config)
    assert config.limits().mail_ttl == 14 * 86400 * 1000


def test_every_setting_has_a_parser_and_a_flag() -> None:
    assert {name.replace("_", "-") for name in PARSERS} == set(NAMES)
    flags = {option for parameter in relay.params for option in parameter.opts}
    assert {f"--{name}" for name in NAMES} <= flags


def test_doors_are_plugins_that_are_installed() -> None:
    assert load({}).door == load({"door": ["native"]}).door == ("native",)
    with pytest.raises(LocalError, match=r"^--door: there is no door 'nativ'; installed: .*native"):
        load({"door": ["nativ"]})
    for none_or_twice in ([], ["native", "native"]):
        with pytest.raises(LocalError, match="door: at least one, and each of them once"):
            load({"door": none_or_twice})


def test_a_file_and_flags_that_win(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(
        f"""
        listen = "[::]:9000"
        public-url = "wss://relay.example/mm"
        tls_certificate = "cert.pem"   # underscores are understood as well
        tls-key = "key.pem"
        rate-bytes = 1000
        recipient-bytes = "64 MiB"
        mail-ttl = "1.5 h"
        max-connections = "10k"
        deny = ["{ONE.sign_id}", "{ADDRESS}", "{ADDRESS[-43:]}"]
        proxies = ["127.0.0.1/32", "::1/128"]
        """
    )
    config = load({"rate-bytes": "2 MB", "metrics": "same"}, file)
    assert config.address == ("::", 9000)
    assert config.url(9000) == "wss://relay.example/mm/"
    assert (config.rate_bytes, config.recipient_bytes, config.mail_ttl) == (2_000_000, 64 * 1024 * 1024, 5400)
    assert (config.max_connections, config.metrics) == (10_000, "same")
    assert config.access().deny == {ONE.sign_key}
    assert [str(network) for network in config.proxies] == ["127.0.0.1/32", "::1/128"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("listen", "8080", "is not HOST:PORT"),
        ("listen", "host:99999", "is not HOST:PORT"),
        ("listen", 8080, "is not a text"),
        ("public-url", "https://relay.example", "is not wss://"),
        ("public-url", "wss://relay.example/?x", "is not wss://"),
        ("store", "postgres://x", "not sqlite, and postgres://... is no Redis"),
        ("metrics", "yes", "is not HOST:PORT"),
        ("federate", "maybe", "is none of any, listed, none"),
        ("deny", ["x"], "is neither a signId nor the address of a relay"),
        ("deny", ADDRESS, "is not a list"),
        ("proxies", ["10.0.0.1/8"], "has host bits set"),
        ("rate-bytes", "fast", "is not a size"),
        ("rate-bytes", -1, "is not a size"),
        ("rate-bytes", True, "is not a size"),
        ("rate-bytes", "9" * 400, "is too much"),
        ("max-connections", "1 MiB", "is not a number"),
        ("mail-ttl", "1 year", "is not a time"),
        ("mail-ttl", "15 d", "at most 14 d"),
        ("mail-ttl", 0, "more than nothing"),
        ("max-frame", MAX_FRAME + 1, f"at most {MAX_FRAME}"),
        ("max-mail", MAX_MAIL + 1, f"at most {MAX_MAIL}"),
        ("tls-key", "key.pem", "go together"),
        ("federate", "listed", "lists nobody"),
        ("name", "x" * 256, "at most 255"),
        ("nonsense", 1, "there is no such setting"),
    ],
)
def test_what_is_wrong_is_named(key: str, value: Any, said: str) -> None:
    with pytest.raises(LocalError, match=key) as caught:
        load({key: value})
    assert said in str(caught.value)


def test_all_that_is_wrong_is_named_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text("listen = 1\nrate-bytes = 'x'\n")
    with pytest.raises(LocalError) as caught:
        load({"drain": "x"}, file)
    first, second, third = str(caught.value).splitlines()
    assert first.startswith(f"{file}: listen: ")
    assert second.startswith(f"{file}: rate-bytes: ")
    assert third.startswith("--drain: ")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"listen", "not TOML"), (b"\xff\xfe", "not TOML"), (b"[relay]", "no such")],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "relay.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LocalError, match=said):
        load({}, file)


@pytest.mark.parametrize(
    ("settings", "port", "url"),
    [
        ({"listen": "127.0.0.1:80"}, 80, "ws://127.0.0.1/"),
        ({"listen": "[::1]:81"}, 81, "ws://[::1]:81/"),
        ({"listen": "x.example:443", "tls-certificate": "c", "tls-key": "k"}, 443, "wss://x.example/"),
        ({"tls-certificate": "c", "tls-key": "k", "public-url": "wss://x.example"}, 8443, "wss://x.example/"),
    ],
)
def test_where_clients_find_it(settings: dict[str, str], port: int, url: str) -> None:
    assert load(settings).url(port) == url


def test_a_wildcard_is_told_as_the_name_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getfqdn", lambda: "host.example")
    config = load({"listen": "0.0.0.0:8080"})
    assert config.url(8080) == "ws://host.example:8080/"
    assert beyond_this_machine(config)


@given(
    st.sampled_from(NAMES),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text())),
)
def test_any_value_is_taken_or_refused(name: str, value: Any) -> None:
    with suppress(LocalError):
        assert isinstance(load({name: value}), Config)


def test_the_settings_in_deploy_are_good() -> None:
    config = load({}, Path(__file__).parents[3] / "deploy" / "relay.toml")
    assert config.metrics == "127.0.0.1:9464"
    for name in (
        "mail_ttl",
        "recipient_bytes",
        "sender_bytes",
        "total_bytes",
        "max_connections",
        "rate_bytes",
        "rate_items",
    ):
        assert getattr(config, name) == getattr(Config(), name), "the file shows the defaults"


def test_the_flags_in_deploy_are_there() -> None:
    folder = Path(__file__).parents[3] / "deploy"
    text = (folder / "compose.yml").read_text() + (folder / "Dockerfile").read_text()
    used = set(re.findall(r"--([a-z-]+)[= \"]", text.replace('", "', " "))) & {*NAMES, "listen", "public-url"}
    assert {"listen", "public-url", "identity", "store", "proxies", "metrics", "data"} <= used
