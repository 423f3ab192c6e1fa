"""The health check of the image: it follows the flags of the relay that it asks."""

import os
from pathlib import Path

import pytest

from benchmarks import tls
from mm_relay import health_check
from mm_relay.config.settings import Config
from mm_relay.server import RelayServer
from mmplatform.errors import LocalError


def relay_at(listening: str, *more: str) -> list[str]:
    return ["/opt/mm/bin/python", "/opt/mm/bin/mm", "relay", "--data", "/data", "--listen", listening, *more]


@pytest.mark.parametrize(
    ("flags", "url"),
    [
        ((), "ws://127.0.0.1:8080/"),
        (("--listen", "0.0.0.0:9000"), "ws://127.0.0.1:9000/"),
        (("--listen", "[::]:9000"), "ws://[::1]:9000/"),
        (("--listen", "10.1.2.3:80", "--allow", "x"), None),
        (("--tls-certificate", "/c.pem", "--tls-key", "/k.pem"), "wss://127.0.0.1:8443/"),
    ],
)
def test_the_flags_say_where(flags: tuple[str, ...], url: str | None) -> None:
    command = ["mm", "relay", *flags]
    if url is None:
        with pytest.raises(LocalError, match="allow"):
            health_check.own_url(command)
    else:
        assert health_check.own_url(command) == url


def test_the_settings_file_says_where(tmp_path: Path) -> None:
    (tmp_path / "relay.toml").write_text('listen = "127.0.0.1:7777"\n')
    assert health_check.own_url(["mm", "relay", "--config", str(tmp_path / "relay.toml")]) == "ws://127.0.0.1:7777/"


def test_what_is_no_relay_is_not_ready(capsys: pytest.CaptureFixture[str]) -> None:
    assert health_check.main([str(os.getpid())]) == 1
    assert "is no mm relay" in capsys.readouterr().err
    with pytest.raises(LocalError, match="name one"):
        health_check.own_url(["mm", "relay", "--listen", "127.0.0.1:0"])


@pytest.mark.parametrize("secure", [False, True])
async def test_a_relay_is_ready_until_it_stops(tmp_path: Path, secure: bool) -> None:
    tls.create(tmp_path)
    certificate, key = tmp_path / tls.CERTIFICATE, tmp_path / tls.KEY
    used = {"tls_certificate": certificate, "tls_key": key} if secure else {}
    server = RelayServer(Config(data=tmp_path / "relay", listen="127.0.0.1:0", drain=0, **used))
    ready = await server.start()
    flags = ("--tls-certificate", str(certificate), "--tls-key", str(key)) if secure else ()
    command = relay_at(ready["listening"], *flags)
    try:
        assert await health_check.ask(command) == ""
    finally:
        await server.stop()
    assert await health_check.ask(command) == "nobody there is ready"
