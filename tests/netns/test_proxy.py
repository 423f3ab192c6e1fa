"""A host whose only way out is a proxy, a real one: it sends, receives, is called, leaves mail and is left mail."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.netns.lab import Lab, needs
from tests.support.waiting import wait_until

pytestmark = [needs("nft", "tinyproxy", "microsocks"), pytest.mark.slow, pytest.mark.timeout(300)]

MM = (sys.executable, "-m", "mmplatform.cli")
NAME = "relay.lab"  # host a has no way to look it up
RELAY_PORT, HTTP_PORT, SOCKS_PORT = 8080, 3128, 1080
ONLY_THE_PROXY = """
table inet alone {{
  chain out {{
    type filter hook output priority 0; policy drop;
    oif lo accept
    ip daddr {proxy} tcp dport {{ {http}, {socks} }} accept
  }}
  chain in {{
    type filter hook input priority 0; policy drop;
    iif lo accept
    ip saddr {proxy} tcp sport {{ {http}, {socks} }} accept
  }}
}}
"""
TINYPROXY = """
Port {port}
Listen 0.0.0.0
Timeout 600
BasicAuth alice s3cret
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("a", "proxy", "relay", "b") as lab:
        for host in ("proxy", "b", "relay"):
            lab.know(host, NAME, lab.address("relay"))
        rules = ONLY_THE_PROXY.format(proxy=lab.address("proxy"), http=HTTP_PORT, socks=SOCKS_PORT)
        lab.run("a", "nft", "-f", "-", input=rules)
        (lab.folder / "tinyproxy.conf").write_text(TINYPROXY.format(port=HTTP_PORT))
        lab.start("proxy", "tinyproxy", "-d", "-c", str(lab.folder / "tinyproxy.conf"))
        lab.start(
            "proxy", "microsocks", "-p", str(SOCKS_PORT), "-u", "alice", "-P", "s3cret", stderr=subprocess.DEVNULL
        )
        for port in (HTTP_PORT, SOCKS_PORT):
            wait_until(lambda port=port: f":{port} " in lab.run("proxy", "ss", "-ltn"))  # type: ignore[misc]
        yield lab


@pytest.fixture(scope="module")
def relay(lab: Lab) -> str:
    process = lab.start(
        "relay", *MM, "--json", "relay", "--data", str(lab.folder / "relay"), "--listen", f"0.0.0.0:{RELAY_PORT}",
        "--public-url", f"ws://{NAME}:{RELAY_PORT}/",
    )  # fmt: skip
    assert process.stdout is not None
    told: dict[str, str] = {}
    while told.get("event") != "ready":
        told = json.loads(process.stdout.readline())
    return told["address"]


class Host:
    """The node of a host of the lab, and the commands on its folder."""

    def __init__(self, lab: Lab, host: str, folder: Path) -> None:
        self.lab, self.host, self.folder = lab, host, folder

    @contextmanager
    def running(self, *options: str) -> Iterator[None]:
        command = (*MM, "-v", "--json", "--data", str(self.folder), "run", *options)
        with self.log.open("a") as log:
            process = self.lab.start(self.host, *command, stderr=log)
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["event"] == "ready"
            try:
                yield
            finally:
                process.terminate()
                process.wait(20)

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    def mm(self, *arguments: str) -> str:
        return self.lab.run(self.host, *MM, "--data", str(self.folder), *arguments, timeout=60.0).strip()

    @contextmanager
    def hearing(self, pattern: str, *options: str) -> Iterator["subprocess.Popen[Any]"]:
        """One message that matches ``pattern`` is printed by the process."""
        command = (*MM, "--data", str(self.folder), "on", pattern, "--count", "1", "--payload", *options)
        process = self.lab.start(self.host, *command)
        yield process
        process.kill()
        process.wait(20)

    def leave_mail(self, to: str, payload: str) -> None:
        """Send, and wait until it is with the relay of the recipient."""
        number = json.loads(self.mm("--json", "send", to, "chat", payload, "--no-wait").splitlines()[-1])["id"]
        wait_until(lambda: "relayed" in self.mm("outbox", "--json"))
        assert number in self.mm("outbox", "--json")


def gets(by: Host, pattern: str, sender: Host, to: str, payload: str) -> None:
    with by.hearing(pattern) as heard:
        sender.mm("send", to, pattern.rpartition(".")[2], payload, "--wait", "--timeout", "40")
        assert heard.stdout is not None
        assert heard.stdout.readline().strip() == payload


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize("said", ["flag", "environment"])
def test_a_host_behind_nothing_but_a_proxy(lab: Lab, relay: str, scheme: str, said: str, tmp_path: Path) -> None:
    a, b = Host(lab, "a", tmp_path / "a"), Host(lab, "b", tmp_path / "b")
    port = HTTP_PORT if scheme == "http" else SOCKS_PORT
    url = f"{scheme}://alice:s3cret@{lab.address('proxy')}:{port}"
    plain = ("--service", "none", "--relay", relay)
    named = ("--proxy", url) if said == "flag" else ()
    with pytest.MonkeyPatch.context() as patch:
        if said == "environment":
            patch.setenv("all_proxy", url)
            patch.setenv("no_proxy", f"other.lab,{lab.address('relay')},{lab.address('b')}")
        with b.running(*plain):
            with a.running(*plain, *named):
                b.mm("add", a.mm("id", "--ticket"), "--name", "alice", "--friend")
                a.mm("add", b.mm("id", "--ticket"), "--name", "bob", "--friend")
                gets(b, "friends.chat", a, "bob", "sent")
                gets(a, "friends.chat", b, "alice", "received")
                with a.hearing("friends.ask", "--reply", "called"):
                    assert wait_until(lambda: _asked(b)) == "called"
                examined = [json.loads(line) for line in a.mm("doctor", "--json").splitlines()]
                [proxy] = [check for check in examined if check["subject"].startswith("proxy ")]
                assert proxy["state"] == "ok"
                assert ("settings of this node" in proxy["text"]) is (said == "flag")
            b.leave_mail("alice", "while away")
        with a.running(*(() if said == "flag" else plain)), a.hearing("friends.chat") as heard:
            assert heard.stdout is not None
            assert heard.stdout.readline().strip() == "while away"
            a.leave_mail("bob", "for later")
        with b.running(*plain), b.hearing("friends.chat") as heard:
            assert heard.stdout is not None
            assert heard.stdout.readline().strip() == "for later"
    assert "s3cret" not in a.log.read_text()


def _asked(by: Host) -> str:
    try:
        return by.mm("request", "alice", "ask", "me", "--timeout", "5")
    except subprocess.CalledProcessError:
        return ""  # nobody listens yet
