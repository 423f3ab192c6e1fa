"""mm relay, in real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest

from benchmarks import tls
from mm_relay.commands import _run
from mmplatform.errors import LocalError, PluginError
from mmplatform.plugins import loading
from tests.support.cli import INTERRUPTED, MM, PATIENCE, end


class Process:
    """A relay in the background."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen((*MM, "relay", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().rstrip("\n")

    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.line())
        return found

    def rest(self) -> tuple[str, str]:
        out, err = self.process.communicate(timeout=PATIENCE)
        return out.decode(), err.decode()


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def make(*arguments: str) -> Process:
        started.append(Process(*arguments))
        return started[-1]

    yield make
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


def test_it_says_where_it_is_and_ends_in_good_order(start: Callable[..., Process], tmp_path: Path) -> None:
    relay = start("--json", "--data", str(tmp_path), "--listen", "127.0.0.1:0")
    ready = relay.event()
    assert ready["event"] == "ready"
    assert ready["address"].startswith(f"relay+ws://{ready['listening']}/")
    assert (ready["store"], ready["pid"]) == ("sqlite", relay.process.pid)
    assert (tmp_path / "mail.db").exists()
    assert end(relay.process, signal.SIGTERM) == 0
    assert relay.rest() == ("", "")


def test_for_people(start: Callable[..., Process], tmp_path: Path) -> None:
    relay = start("--data", str(tmp_path), "--listen", "127.0.0.1:0")
    assert relay.line().startswith("relay+ws://127.0.0.1:")
    assert relay.line().startswith("listens on 127.0.0.1:")
    assert "mm run --relay ADDRESS" in relay.line()
    assert end(relay.process, signal.SIGINT) == INTERRUPTED
    out, err = relay.rest()
    assert out == "stopped\n"
    assert "come back" in err


async def test_the_thread_of_the_store_does_not_wait_for_a_busy_loop() -> None:
    """Each step of the store waited 5 ms for a loop that was flooded, and honest mail for a second."""

    class Server:
        async def start(self) -> NoReturn:
            raise LocalError(f"{sys.getswitchinterval():g}")

    usual = sys.getswitchinterval()
    try:
        with pytest.raises(LocalError, match=r"^0\.0001$"):
            await _run(cast(Any, None), cast(Any, Server()), False)
    finally:
        sys.setswitchinterval(usual)


def test_the_demo_leaves_nothing_behind(start: Callable[..., Process], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    relay = start("--demo")
    told = [relay.line() for _ in range(6)]
    commands = [line for line in told if line.startswith("  mm ")]
    assert len(commands) == 2
    assert all("--relay relay+ws://127.0.0.1:" in command for command in commands)
    assert list(tmp_path.iterdir())
    assert end(relay.process, signal.SIGTERM) == 0
    assert not list(tmp_path.iterdir())


def test_by_default_its_folder_is_in_that_of_the_node(
    start: Callable[..., Process], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("MM_DATA", str(tmp_path))
    relay = start("--json", "--listen", "127.0.0.1:0")
    relay.event()
    assert (tmp_path / "relay" / "identity").exists()
    assert end(relay.process, signal.SIGTERM) == 0


def test_a_file_of_settings_and_sighup(start: Callable[..., Process], tmp_path: Path) -> None:
    tls.create(tmp_path)
    file = tmp_path / "relay.toml"
    file.write_text(
        f'data = "{tmp_path}/data"\nlisten = "localhost:0"\nname = "x"\npublic-url = "wss://localhost/mm"\n'
        f'tls-certificate = "{tmp_path / tls.CERTIFICATE}"\ntls-key = "{tmp_path / tls.KEY}"\n'
    )
    relay = start("--json", "--config", str(file))
    assert relay.event()["address"].startswith("relay+wss://localhost/mm/")
    relay.process.send_signal(signal.SIGHUP)
    assert relay.event() == {"event": "note", "text": "the certificate and the lists were read again"}
    assert end(relay.process, signal.SIGTERM) == 0


def test_a_relay_that_is_killed_starts_again_with_the_same_address(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    arguments = ("--json", "--data", str(tmp_path), "--listen", "127.0.0.1:0")
    first = start(*arguments)
    key = first.event()["signId"]
    end(first.process, signal.SIGKILL)
    assert start(*arguments).event()["signId"] == key


def test_what_keeps_it_from_starting(here: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = here("relay", "--listen", f"127.0.0.1:{port}")
        assert (code, "in use" in err, str(port) in err) == (1, True, True)
    code, _, err = here("relay", "--tls-certificate", "none.pem", "--tls-key", "none.key")
    assert (code, err) == (1, "mm: none.pem: No such file or directory; the certificate of the relay cannot be read\n")
    code, _, err = here("relay", "--store", f"unix://{tmp_path}/none", "--listen", "127.0.0.1:0")
    assert (code, err.startswith("mm: redis at ")) == (1, True)
    code, _, err = here("relay", "--config", str(tmp_path / "none.toml"))
    assert (code, "none.toml: No such file" in err) == (1, True)


def test_wrong_settings_are_all_named(here: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = here("relay", "--listen", "x", "--mail-ttl", "a while", "--deny", "bob")
    assert code == 1
    assert [line.partition(":")[0] for line in err.removeprefix("mm: ").splitlines()] == [
        "--listen",
        "--mail-ttl",
        "--deny",
    ]
    code, _, err = here("relay", "--demo", "--store", "memory")
    assert (code, err.startswith("mm: --demo goes with no other setting")) == (2, True)
    assert here("relay", "--nonsense")[0] == 2


def test_a_folder_in_use_is_named(
    start: Callable[..., Process], here: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    relay = start("--json", "--data", str(tmp_path / "here"), "--listen", "127.0.0.1:0")
    pid = relay.event()["pid"]
    code, _, err = here("relay", "--listen", "127.0.0.1:0")
    assert (code, f"in use by process {pid}" in err) == (1, True)


def test_no_server_installed(here: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(group: str, name: str) -> None:
        raise PluginError("there is no server 'relay'")

    monkeypatch.setattr(loading, "load", load)
    assert here("relay")[::2] == (1, "mm: there is no server 'relay'\n")


@pytest.mark.slow
def test_what_happened_is_told_now_and_then(tmp_path: Path) -> None:
    """A line a minute at most, and only when something has happened: here at every look."""
    code = (
        "import sys; from mm_relay import commands; commands.LOOK_AGAIN = 0.01\n"
        "from mmplatform.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "relay", "--data", str(tmp_path), "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ,
    )  # fmt: skip
    assert process.stdout is not None
    address, *_ = [process.stdout.readline().decode() for _ in range(3)]
    host, port = address.removeprefix("relay+ws://").partition("/")[0].split(":")
    for _ in range(2):
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mm-relay.1\r\n\r\n\x82\x80mask"
            )
            while stranger.recv(4096):
                pass
    assert process.stdout.readline().decode().endswith(" refused\n")
    assert end(process, signal.SIGTERM) == 0
    process.communicate()
