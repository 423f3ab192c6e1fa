"""Twelve faults, each really there: mm doctor names it, and claims no other."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mmplatform.identity.keys import Identity
from tests.netns.lab import Lab, needs
from tests.netns.relays import start_relay
from tests.netns.told import Told

pytestmark = [needs("nft", "mount"), pytest.mark.slow, pytest.mark.timeout(300)]

MM = (sys.executable, "-m", "mmplatform.cli")
FIREWALL = """
table inet doctor {{
  chain closed {{
    type filter hook {hook} priority 0; policy accept;
    {rule} drop
  }}
}}
"""
NOWHERE = "10.77.0.200"
STRANGER = "gTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5Q"


class World(NamedTuple):
    """Host a is examined; b is a friend of it, beside it a relay with a STUN server."""

    lab: Lab
    relay: str
    b: Told


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Lab("a", "b", "relay") as lab:
        relay = start_relay(lab, "relay")
        stun = lab.start("relay", sys.executable, "-m", "tests.netns.stun", "3478")
        assert stun.stdout is not None
        stun.stdout.readline()
        yield World(lab, relay, Told(lab, "b", "--relay", relay, services=("mdns", "kademlia")))


class Doctor:
    """``mm doctor`` on host a, as it is asked when all is well; a test changes one thing."""

    def __init__(self, world: World, folder: Path) -> None:
        self.lab, self.folder = world.lab, folder
        self.relay = world.relay
        self.stun = f"stun:{world.lab.address('relay')}"
        self.listen = "tcp://0.0.0.0:0"
        self.services: tuple[str, ...] = ("mdns", "kademlia")
        self.peer: tuple[str, ...] = ()
        self.said: list[dict[str, Any]] = []

    def mm(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = ["ip", "netns", "exec", self.lab._space("a"), *MM, "--data", str(self.folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def claims(self) -> set[str]:
        """Words of the faults and warnings."""
        named = [word for service in self.services for word in ("--service", service)]
        asked = self.mm(
            "doctor", *self.peer, "--json", "--relay", self.relay, "--stun", self.stun, "--listen", self.listen, *named
        )
        assert asked.stdout, asked.stderr
        self.said = [json.loads(line) for line in asked.stdout.splitlines()]
        claimed = [check for check in self.said if check["state"] in ("fault", "warning")]
        assert asked.returncode == any(check["state"] == "fault" for check in claimed)
        assert all(check["remedy"] for check in claimed)
        return {check["word"] for check in claimed}


@pytest.fixture
def doctor(world: World, tmp_path: Path) -> Doctor:
    made = Doctor(world, tmp_path / "a")
    added = made.mm("add", world.b.ticket, "--name", "b", "--friend")
    assert added.returncode == 0, added.stderr
    return made


@contextmanager
def firewall(lab: Lab, host: str, hook: str, rule: str) -> Iterator[None]:
    lab.run(host, "nft", "-f", "-", input=FIREWALL.format(hook=hook, rule=rule))
    try:
        yield
    finally:
        lab.run(host, "nft", "delete", "table", "inet", "doctor")


def test_all_is_well(doctor: Doctor) -> None:
    doctor.peer = ("b",)
    assert doctor.claims() == set(), doctor.said
    states = {check["subject"]: check["state"] for check in doctor.said}
    assert states["UDP"] == states["mdns"] == states["dht"] == states["clock"] == states["record of b"] == "ok"


@pytest.mark.parametrize("hook", ["output", "input"])
def test_1_udp_is_blocked(doctor: Doctor, hook: str) -> None:
    with firewall(doctor.lab, "a", hook, "meta l4proto udp"):
        assert doctor.claims() == {"udp-blocked"}, doctor.said


def test_2_multicast_is_blocked(doctor: Doctor) -> None:
    with firewall(doctor.lab, "a", "input", "ip daddr 224.0.0.0/4"):
        assert doctor.claims() == {"multicast-blocked"}, doctor.said


def test_3_the_stun_server_is_gone(doctor: Doctor) -> None:
    doctor.stun = f"stun:{NOWHERE}"
    assert doctor.claims() == {"stun-unreachable"}, doctor.said


def test_4_the_dht_is_empty(doctor: Doctor, world: World, tmp_path: Path) -> None:
    gone = Told(world.lab, "b", services=("kademlia",))
    gone.process.kill()
    doctor.folder, doctor.services = tmp_path / "alone", ("kademlia",)
    doctor.mm("add", gone.ticket)
    assert doctor.claims() == {"dht-empty"}, doctor.said


def test_5_there_is_no_relay(doctor: Doctor) -> None:
    doctor.relay = "none"
    assert doctor.claims() == {"no-relay"}, doctor.said


@pytest.mark.parametrize("silent", [False, True])
def test_6_the_relay_is_down(doctor: Doctor, silent: bool) -> None:
    with ExitStack() as stack:
        if silent:
            stack.enter_context(firewall(doctor.lab, "relay", "input", "tcp dport 8080"))
        else:
            doctor.relay = doctor.relay.replace(":8080", ":8099")
        assert doctor.claims() == {"relay-down"}, doctor.said


def test_7_the_relay_has_another_key(doctor: Doctor) -> None:
    doctor.relay = f"{doctor.relay.rpartition('/')[0]}/{STRANGER}"
    assert doctor.claims() == {"wrong-key"}, doctor.said


def test_8_the_relay_does_not_let_us_in(doctor: Doctor) -> None:
    own = Identity.load_or_create(doctor.folder / "identity").sign_id
    process = doctor.lab.start(
        "b", *MM, "--json", "--data", str(doctor.folder.with_name("strict")), "relay", "--listen", "0.0.0.0:8081",
        "--public-url", f"ws://{doctor.lab.address('b')}:8081/", "--deny", own,
    )  # fmt: skip
    assert process.stdout is not None
    told: dict[str, str] = {}
    while told.get("event") != "ready":
        told = json.loads(process.stdout.readline())
    doctor.relay = told["address"]
    try:
        assert doctor.claims() == {"relay-denied"}, doctor.said
    finally:
        process.terminate()
        process.wait(10)


def test_9_the_name_of_the_relay_means_nothing(doctor: Doctor) -> None:
    doctor.relay = f"relay+ws://relay.invalid/{STRANGER}"
    assert doctor.claims() == {"relay-name"}, doctor.said


def test_10_a_clock_is_wrong(doctor: Doctor, world: World) -> None:
    late = Told(world.lab, "b", "--clock", "-3600", services=())
    doctor.mm("add", late.ticket, "--name", "late")
    doctor.peer = ("late",)
    assert doctor.claims() == {"clock-skew"}, doctor.said
    assert "3600 s behind" in next(check["text"] for check in doctor.said if check["word"])
    late.process.kill()


def test_11_the_port_is_taken(doctor: Doctor) -> None:
    code = "import socket, time; s = socket.create_server(('', 7000)); print('ready', flush=True); time.sleep(60)"
    process = doctor.lab.start("a", sys.executable, "-c", code)
    assert process.stdout is not None
    process.stdout.readline()
    doctor.listen = "tcp://0.0.0.0:7000"
    try:
        assert doctor.claims() == {"port-in-use"}, doctor.said
    finally:
        process.kill()


def test_12_the_disk_is_full(doctor: Doctor, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", disk], check=True)
    try:
        doctor.folder = disk / "a"
        doctor.mm("id")
        with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))
        assert doctor.claims() == {"disk-full"}, doctor.said
    finally:
        subprocess.run(["umount", disk], check=True)
