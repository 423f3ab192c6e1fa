"""mm relay: runs a relay in the foreground. The server is a plugin, loaded when the command runs, not for its help."""

import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mmplatform.cli.command import OK, Command, Interrupted, Settings, ended_at_once, execute, pass_settings
from mmplatform.cli.output import news, note
from mmplatform.errors import LocalError
from mmplatform.plugins import loading as plugins

if TYPE_CHECKING:
    from mmplatform.plugins.server import Server

LOOK_AGAIN: Final = 60.0  # seconds between two lines about what has happened
SWITCHING: Final = (
    0.0001  # seconds until a busy loop lets the thread of the store go on, which is to be let twice a row
)

# (name, metavar, help) of each flag; the file has the same names.
_GENERAL: Final = (
    ("listen", "HOST:PORT", "Where to listen; by default 0.0.0.0:8443 with a certificate, else 127.0.0.1:8080."),
    ("public-url", "URL", "What clients are to dial, as in wss://relay.example/; needed behind a proxy."),
    ("tls-certificate", "FILE", "PEM, the chain of it; SIGHUP reads it again."),
    ("tls-key", "FILE", "PEM."),
    ("name", "TEXT", "What clients are told this relay is called."),
    ("identity", "FILE", "The key; by default in the data folder. All processes of a cluster share one."),
    (
        "store",
        "URL",
        "Where mail is kept: sqlite, or redis://, redis+sentinel:// or redis+cluster:// for several processes.",
    ),
    ("twins", "FILE", "With --rmb: the file of twins; by default twins.toml in the data folder."),
    ("metrics", "HOST:PORT", "Serve /metrics there; 'same' is the port of the relay."),
    ("federate", "WHO", "Other relays to work with: any (the default), listed, or none."),
    ("max-connections", "N", "At most, of everybody."),
    ("max-connections-per-address", "N", "At most, of one address."),
    ("max-unproven", "N", "At most, that have not signed in."),
    ("rate-bytes", "SIZE", "A second, of one connection."),
    ("rate-items", "N", "A second, of one connection."),
    ("rate-address-bytes", "SIZE", "A second, of all connections of one address."),
    ("rate-address-items", "N", "A second, of all connections of one address."),
    ("max-frame", "SIZE", "Of a live frame."),
    ("max-mail", "SIZE", "Of an envelope."),
    ("mail-ttl", "TIME", "How long mail is kept at most, 14 d."),
    ("recipient-bytes", "SIZE", "Of mail waiting for one recipient."),
    ("recipient-count", "N", "Envelopes waiting for one recipient."),
    ("sender-bytes", "SIZE", "Of mail waiting from one sender."),
    ("sender-count", "N", "Envelopes waiting from one sender."),
    ("address-bytes", "SIZE", "Of mail waiting from all senders at one address."),
    ("address-count", "N", "Envelopes waiting from all senders at one address."),
    ("relay-bytes", "SIZE", "Of mail waiting that came through one other relay."),
    ("relay-count", "N", "Envelopes waiting that came through one other relay."),
    ("total-bytes", "SIZE", "Of all mail waiting."),
    ("window-bytes", "SIZE", "Of mail under way to a recipient."),
    ("window-count", "N", "Envelopes under way to a recipient."),
    ("drain", "TIME", "How long those who are connected have to leave."),
)
_LISTS: Final = (
    ("allow", "KEY", "Serve only these peers (a signId); may be repeated."),
    ("deny", "KEY", "Do not serve these; may be repeated."),
    ("federate-allow", "RELAY", "The address of a relay to work with; may be repeated."),
    ("federate-deny", "RELAY", "The address of a relay not to work with; may be repeated."),
    ("rmb-name", "NAME", "With --rmb: another name of this relay among twins; may be repeated."),
    ("chain", "URL", "With --rmb: ask this node of ThreeFold's chain for twins; may be repeated."),
    ("proxies", "NETWORK", "Believe X-Forwarded-For of this proxy, as in 127.0.0.1/32; may be repeated."),
    (
        "door",
        "NAME",
        "Open this door, by the name of its plugin; may be repeated. Without it: native, where nodes come in.",
    ),
)


def _options(command: Any) -> Any:
    for name, metavar, text in reversed(_GENERAL):
        command = click.option(f"--{name}", metavar=metavar, help=text)(command)
    for name, metavar, text in reversed(_LISTS):
        command = click.option(f"--{name}", metavar=metavar, help=text, multiple=True)(command)
    return command


@click.command("relay", cls=Command)
@click.option(
    "--config", "file", type=click.Path(path_type=Path), metavar="FILE", help="TOML; its keys are these flags."
)
@click.option("--demo", is_flag=True, help="For this machine, in a folder of its own, with no TLS: to try it out.")
@click.option(
    "--rmb", is_flag=True, default=None, help="Serve clients of ThreeFold's Reliable Message Bus, too: legacy security."
)
@_options
@pass_settings
def relay(settings: Settings, /, file: Path | None, demo: bool, **given: Any) -> int:
    """Run a relay: peers that can only dial out meet here, and sealed mail waits for those who are away.

    It sees who talks to whom, when and how much, and nothing of what they say. Data is in ~/.mm/relay, or in --data.

    \b
      mm relay --demo                       try it out on this machine
      mm relay --tls-certificate cert.pem --tls-key key.pem --public-url wss://relay.example:8443/
      mm relay --config /etc/mm/relay.toml
      mm relay --rmb --twins twins.toml     a whole world of RMB on this machine
    """
    flags = given_flags(given)
    with ExitStack() as stack:
        if demo:
            if file is not None or flags.keys() - {"listen"}:
                raise click.UsageError("--demo goes with no other setting but --listen")
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-relay-"))
            stack.enter_context(ended_at_once(partial(shutil.rmtree, folder, ignore_errors=True)))
            flags = {"listen": "127.0.0.1:0", **flags, "data": folder}
        elif settings.folder is not None:
            flags["data"] = str(settings.data)
        elif file is None:
            flags["data"] = str(settings.data / "relay")
        server = _configured(flags, file, _Notes(settings.json))
        try:
            execute(lambda: _run(settings, server, demo))
        except Interrupted as interrupted:
            if not settings.json:
                news("stopped")
            return interrupted.ended
    return OK


def given_flags(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that were given, by the names that the settings have."""
    return {name.replace("_", "-"): value for name, value in given.items() if value not in (None, ())}


def _configured(flags: dict[str, Any], file: Path | None, notes: "_Notes") -> "Server":
    """Make the server; what is wrong with its settings is told a line each."""
    try:
        return _server().configure(flags, file, notes.note)
    except LocalError as error:
        first, *others = str(error).splitlines()
        told = LocalError(first)
        for line in others:
            told.add_note(line)
        raise told from None


def _server() -> "type[Server]":
    return plugins.load(plugins.SERVERS, "relay")  # type: ignore[return-value]  # as the group of entry points says


async def _run(settings: Settings, server: "Server", demo: bool) -> None:
    import asyncio

    from mmplatform.program import freeze_loaded

    sys.setswitchinterval(SWITCHING)
    facts = await server.start()
    freeze_loaded()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, server.reload)
    if settings.json:
        news({"event": "listening" if facts.get("trouble") else "ready", **facts})
    else:
        for line in _greeting(facts, demo):
            news(line)
    try:
        await _report(settings, server)
    finally:
        if not settings.json:
            note("sending everybody to another relay, or to come back")
        await server.stop()


async def _report(settings: Settings, server: "Server") -> None:
    """Print a line when something has happened."""
    import asyncio

    before = server.activity()
    while True:
        await asyncio.sleep(LOOK_AGAIN)
        now = server.activity()
        if now != before:
            if settings.json:
                news({"event": "activity", **now})
            else:
                news(", ".join(_said(name, value) for name, value in now.items() if value or before[name]))
        before = now


def _said(name: str, value: int) -> str:
    words = {"signedIn": "signed in", "frames": "frames passed on", "waiting": "envelopes waiting"}
    return f"{value:,} {words.get(name, name)}"


def _greeting(facts: dict[str, Any], demo: bool) -> Sequence[str]:
    address = facts["address"]
    if demo:
        return (
            "A relay for this machine, gone when it stops. In two other terminals, a node that listens nowhere:",
            "",
            f"  mm --data /tmp/alice run --listen none --relay {address}",
            f"  mm --data /tmp/bob run --listen none --relay {address}",
            "",
            "Ctrl-C stops it.",
        )
    trouble = facts.get("trouble")
    return (
        address,
        *([f"is not ready: {trouble}"] if trouble else []),
        f"listens on {facts['listening']}, keeps mail in {facts['store']}",
        *_of_rmb(facts),
        "Ctrl-C stops it; peers use it with: mm run --relay ADDRESS",
    )


def _of_rmb(facts: dict[str, Any]) -> Sequence[str]:
    if "rmb" not in facts:
        return ()
    return (
        f"clients of RMB dial {facts['rmb']}, and {facts['chain']} for the chain that they ask for twins",
        f"twins are in {facts['twins']}; add one with: mm rmb twin add NUMBER --file FILE",
    )


class _Notes:
    """Shows the operator the notes of the server while it runs."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json

    def note(self, text: str) -> None:
        if self._json:
            news({"event": "note", "text": text})
        else:
            note(f"mm relay: {text}", once=True)
