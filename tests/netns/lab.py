"""Hosts on one machine: network namespaces on a bridge, real interfaces, real multicast. Root only.

::

    with Lab("a", "b", "relay", nats={"a": "symmetric", "b": "port-restricted"}) as lab:
        process = lab.start("a", sys.executable, "-m", "tests.netns.node")
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import pytest

from tests.netns.nat import ruleset

SYSTEM_PARTS = {
    "ip": "iproute2",
    "dbus-daemon": "dbus",
    "avahi-daemon": "avahi-daemon",
    "avahi-browse": "avahi-utils",
    "nft": "nftables",
    "mount": "mount",
    "turnserver": "coturn",
    "tinyproxy": "tinyproxy-bin",
    "microsocks": "microsocks",
    "miniupnpd": "miniupnpd-nftables",
}

LAN, INTERNET = "10.77.0.", "11.77.0."  # the second are public addresses, which nodes treat in another way
NOWHERE = 254

DBUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy></busconfig>"""

AVAHI = """[server]
host-name=observer
[publish]
publish-workstation=no
publish-hinfo=no
"""


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip, and say why, where hosts cannot be made."""
    reason = impossible(*programs)
    return pytest.mark.skipif(bool(reason), reason=reason or "it can run")


def impossible(*programs: str) -> str:
    """Why hosts cannot be made here, or ""."""
    missing = [f"{program} ({SYSTEM_PARTS[program]})" for program in ("ip", *programs) if shutil.which(program) is None]
    reason = "network namespaces need root" if os.geteuid() else f"{', '.join(missing)} is missing" if missing else ""
    if not reason and subprocess.run(["ip", "netns", "list"], capture_output=True, check=False).returncode:
        reason = "this kernel or container has no network namespaces"
    return reason


class Wire(NamedTuple):
    """What the cable of a host does to each frame, in both directions: ``delay`` in seconds, ``loss`` from 0 to 1.
    ``only_udp``: nothing else is lost."""

    loss: float
    delay: float
    only_udp: bool = False


class Lab:
    """One namespace a host, each with ``eth0`` on one bridge: 10.77.0.1, 10.77.0.2, ... and fd77::1, fd77::2, ...

    ``nats`` puts a router of that kind (:mod:`tests.netns.nat`) in front of a host: the router has the address on the
    bridge, the host 10.78.N.2 behind it. ``internet``: the bridge stands for the Internet. Its addresses are public
    (11.77.0.1, ...), and what is sent to those that are not there vanishes; else the sender is told at once. ``wires``
    gives a host that is behind no NAT a bad cable.
    """

    def __init__(
        self,
        *hosts: str,
        multicast: bool = True,
        nats: Mapping[str, str] | None = None,
        internet: bool = False,
        wires: Mapping[str, Wire] | None = None,
    ) -> None:
        self.hosts = hosts
        self._internet = internet
        self._wires = dict(wires or {})
        self._net = INTERNET if internet else LAN
        self._nats = dict(nats or {})
        self.folder = Path(tempfile.mkdtemp(prefix="mm-lab-"))
        self._name = f"mm{os.getpid()}"
        self._multicast = multicast
        self._processes: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Self:
        try:
            self._ip("netns", "add", self._space("switch"))
            # Without snooping every port gets every multicast packet; with it nobody would ask for memberships here.
            self._ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0", inside="switch")
            self._ip("link", "set", "br0", "up", inside="switch")
            for number, host in enumerate(self.hosts, 1):
                if host in self._nats:
                    self._add_host(self._router(host), number)
                    self._put_behind(host, number, self._nats[host])
                else:
                    self._add_host(host, number)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def address(self, host: str) -> str:
        """Its IPv4 address; of one behind a NAT that of the router."""
        return f"{self._net}{self.hosts.index(host) + 1}"

    def start(self, host: str, *command: str, **options: Any) -> "subprocess.Popen[Any]":
        """A process on ``host``; ended with the lab at the latest."""
        defaults: dict[str, Any] = {"text": True, "stdout": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        inside = ["ip", "netns", "exec", self._space(host), *command]
        process: subprocess.Popen[Any] = subprocess.Popen(inside, **(defaults | options))
        self._processes.append(process)
        return process

    def on_router(self, host: str, *command: str, **options: Any) -> "subprocess.Popen[Any]":
        """A process on the router in front of ``host``."""
        return self.start(self._router(host), *command, **options)

    def run(self, host: str, *command: str, timeout: float = 30.0, **options: Any) -> str:
        """The output of a command on ``host``."""
        return self._run(host, *command, timeout=timeout, **options)

    def know(self, host: str, name: str, address: str) -> None:
        """Have ``host`` know a name; what runs there from now on does."""
        etc = Path("/etc/netns") / self._space(host)
        etc.mkdir(parents=True, exist_ok=True)
        with (etc / "hosts").open("a") as hosts:
            hosts.write(f"{address} {name}\n")

    def plug(self, host: str, up: bool) -> None:
        """Put the cable of ``host`` in, or pull it: packets are lost, nobody is told."""
        self._ip("link", "set", f"port{self.hosts.index(host) + 1}", "up" if up else "down", inside="switch")

    def avahi(self, host: str) -> "Avahi":
        """An avahi-daemon with a D-Bus of its own."""
        return Avahi(self, host)

    def _add_host(self, host: str, number: int) -> None:
        self._ip("netns", "add", self._space(host))
        if host in self._wires:
            self._lay(host, number, self._wires[host])
        else:
            end = ("type", "veth", "peer", "name", "eth0", "netns", self._space(host))
            self._ip("link", "add", f"port{number}", *end, inside="switch")
        self._ip("link", "set", f"port{number}", "master", "br0", "up", inside="switch")
        self._ip("link", "set", "lo", "up", inside=host)
        self._ip("addr", "add", f"{self._net}{number}/24", "dev", "eth0", inside=host)
        self._ip("addr", "add", f"fd77::{number}/64", "dev", "eth0", "nodad", inside=host)
        self._ip("link", "set", "eth0", "up", inside=host)
        if self._internet:
            nowhere = f"{self._net}{NOWHERE}"
            self._ip("neigh", "add", nowhere, "lladdr", "02:00:00:00:00:01", "dev", "eth0", inside=host)
            self._ip("route", "add", "default", "via", nowhere, inside=host)
        if not self._multicast:
            self._ip("link", "set", "eth0", "multicast", "off", inside=host)
            self._ip("route", "add", "unreachable", "224.0.0.0/4", inside=host)

    def _lay(self, host: str, number: int, wire: Wire) -> None:
        """Lay a cable of two TAP devices, with a process between them."""
        ends = [(host, "eth0"), ("switch", f"port{number}")]
        for space, device in ends:
            self._ip("tuntap", "add", "dev", device, "mode", "tap", inside=space)
        named = [f"{self._space(space)},{device}" for space, device in ends]
        process = self.start("switch", sys.executable, "-m", "tests.netns.wire", *named, *map(str, wire))
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    def _put_behind(self, host: str, number: int, kind: str) -> None:
        router, inside = self._router(host), f"10.78.{number}."
        self._ip("netns", "add", self._space(host))
        end = ("type", "veth", "peer", "name", "eth0", "netns", self._space(host))
        self._ip("link", "add", "inside", *end, inside=router)
        self._ip("addr", "add", f"{inside}1/24", "dev", "inside", inside=router)
        self._ip("link", "set", "inside", "up", inside=router)
        self._ip("addr", "add", f"{inside}2/24", "dev", "eth0", inside=host)
        for device in ("lo", "eth0"):
            self._ip("link", "set", device, "up", inside=host)
        self._ip("route", "add", "default", "via", f"{inside}1", inside=host)
        self._run(router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self._run(router, "nft", "-f", "-", input=ruleset(kind, f"{inside}2"))

    @staticmethod
    def _router(host: str) -> str:
        return f"{host}-nat"

    def _space(self, host: str) -> str:
        return f"{self._name}-{host}"

    def _run(self, space: str, *command: str, timeout: float = 30.0, **options: Any) -> str:
        inside = ["ip", "netns", "exec", self._space(space), *command]
        return subprocess.run(inside, check=True, capture_output=True, text=True, timeout=timeout, **options).stdout

    def _ip(self, *arguments: str, inside: str = "") -> None:
        where = ["-n", self._space(inside)] if inside else []
        subprocess.run(["ip", *where, *arguments], check=True, capture_output=True, text=True)

    def _remove(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        for host in (*self.hosts, *map(self._router, self._nats), "switch"):
            subprocess.run(["ip", "netns", "del", self._space(host)], check=False, capture_output=True)
            shutil.rmtree(Path("/etc/netns") / self._space(host), ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


class Avahi:
    """avahi on one host of a lab."""

    def __init__(self, lab: Lab, host: str) -> None:
        self._lab, self._host = lab, host
        bus, config = lab.folder / "bus", lab.folder / "bus.conf"
        self._environment = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}
        config.write_text(DBUS.format(path=bus))
        dbus = lab.start(host, "dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile", "--print-address")
        assert dbus.stdout is not None
        assert dbus.stdout.readline(), "dbus-daemon did not start"
        (lab.folder / "avahi.conf").write_text(AVAHI)
        Path("/run/avahi-daemon").mkdir(exist_ok=True)
        daemon = f"avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {lab.folder}/avahi.conf"
        script = f"mount -t tmpfs none /run/avahi-daemon && exec {daemon}"  # it may run on this machine, too
        process = lab.start(
            host, "unshare", "-m", "sh", "-c", script, env=self._environment, stderr=subprocess.PIPE, stdout=None
        )
        assert process.stderr is not None
        said: list[str] = []
        while "startup complete" not in (said or [""])[-1]:
            said.append(process.stderr.readline())
            assert said[-1], f"avahi-daemon did not start: {''.join(said)}"

    def browse(self, service_type: str) -> list[list[str]]:
        """The fields of each instance that ``avahi-browse -rt`` resolves; the eighth is the address, the last TXT."""
        found = self._lab.run(self._host, "avahi-browse", "-rtp", service_type, env=self._environment)
        return [line.split(";") for line in found.splitlines() if line.startswith("=")]

    def publish(self, name: str, service_type: str, port: int, *strings: str) -> "subprocess.Popen[Any]":
        """Announce a service until the process is ended."""
        command = ("avahi-publish", "-s", name, service_type, str(port), *strings)
        process = self._lab.start(self._host, *command, env=self._environment, stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert "Established" in process.stderr.readline()
        return process
