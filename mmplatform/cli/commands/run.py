"""mm run: a node in the foreground."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from mmplatform.cli.command import (
    OK,
    Command,
    Interrupted,
    Settings,
    execute,
    pass_settings,
    proxy_option,
    relay_option,
    stun_option,
    turn_option,
)
from mmplatform.cli.node.access import taken
from mmplatform.cli.output import news
from mmplatform.cli.remembered import NONE
from mmplatform.links.ended import Disconnection
from mmplatform.plugins import loading

if TYPE_CHECKING:
    from mmplatform.cli.node.host import Host

PORT_MAP: Final = "port_map"


class _RunCommand(Command):
    """Takes ``--no-NAME`` for ``--without NAME``, where a transport has that name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if any(word.startswith("--no-") for word in args):
            short = {f"--no-{name}": f"--without={name}" for name in loading.names(loading.TRANSPORTS)}
            args = [short.get(word, word) for word in args]
        return super().parse_args(ctx, args)


def _transports_named(context: click.Context, parameter: click.Parameter, named: tuple[str, ...]) -> tuple[str, ...]:
    """Raises BadParameter for one that is not installed: it would be left out by a slip of the pen."""
    known = [NONE, *loading.names(loading.TRANSPORTS)] if named else []
    for name in named:
        if name not in known:
            raise click.BadParameter(f"there is no transport {name!r} ({', '.join(known)})")
    return named


@click.command("run", cls=_RunCommand)
@click.option(
    "--listen",
    multiple=True,
    metavar="URI",
    help="Where to listen, or none; by default where transports do. The folder remembers it; default forgets."
    "  [env: MM_LISTEN]",
)
@relay_option
@stun_option
@turn_option
@proxy_option
@click.option(
    "--service", "services", multiple=True, metavar="NAME",
    help="What runs beside it, or none; by default those installed that find peers. Remembered as --listen is."
    "  [env: MM_SERVICES]",
)  # fmt: skip
@click.option(
    "--map-port", is_flag=True,
    help="Ask the router for a port that leads here, by NAT-PMP or UPnP; the same as one more --service, port_map.",
)  # fmt: skip
@click.option(
    "--without", multiple=True, metavar="NAME", callback=_transports_named,
    help="Do without this transport; --no-NAME says the same, as in --no-webrtc. Remembered as relays are."
    "  [env: MM_WITHOUT]",
)  # fmt: skip
@click.option("--metrics", "metrics_at", metavar="[HOST:]PORT", help="Serve /metrics there, for Prometheus.")
@click.option(
    "--http", "http_at", metavar="[HOST:]PORT",
    help="Let programs of this host send, ask and listen there over HTTP; the token is in the data folder.",
)  # fmt: skip
@pass_settings
def run_node(
    settings: Settings,
    listen: tuple[str, ...],
    relays: tuple[str, ...],
    stun: tuple[str, ...],
    turn: tuple[str, ...],
    proxy: tuple[str, ...],
    services: tuple[str, ...],
    map_port: bool,
    without: tuple[str, ...],
    metrics_at: str | None,
    http_at: str | None,
) -> int:
    """Run the node in the foreground until Ctrl-C; other mm commands on the same data folder use it.

    What friends and devices send is kept until something listens to it: mm on, or a program; mm inbox lists it. A port
    chosen by the system is kept over restarts, so tickets stay good.

    \b
      mm run
      mm run --listen 'tcp://*:7000'       # in IPv4 and IPv6
      mm run --service mdns                 # found on the same network, and nowhere else
      mm run --relay relay+wss://relay.example/KEY   # reached through it from anywhere; it keeps mail, too
      mm run --relay relay+wss://relay.example/KEY --stun stun:stun.example   # and then directly, through NATs, too
      mm run --relay relay+wss://relay.example/KEY --proxy http://proxy.example:3128    # the way out of here
      mm run --no-webrtc                    # no direct links through NATs
      mm run --metrics 9110                 # http://127.0.0.1:9110/metrics
      mm run --http 9111                    # curl http://127.0.0.1:9111/send, see docs/http.rst
      mm --data /srv/bot run --json
    """
    if metrics_at is not None:
        _check_metrics(metrics_at)
    if http_at is not None:
        _check_http(http_at)
    if map_port:
        from mmplatform.cli.node.host import discovery

        services = (*discovery(settings.data, services), PORT_MAP)
    said = {
        "listen": listen, "relays": relays, "stun": stun, "turn": turn, "proxy": proxy, "services": services,
        "without": without,
    }  # fmt: skip
    try:
        execute(lambda: _run(settings, metrics_at, http_at, **said))
    except Interrupted as interrupted:
        if not settings.json:
            news("stopped")
        return interrupted.ended
    return OK


async def _run(settings: Settings, metrics_at: str | None, http_at: str | None, **options: Any) -> None:
    from mmplatform.cli.node.host import Host
    from mmplatform.program import freeze_loaded

    @asynccontextmanager
    async def running() -> AsyncIterator[tuple[Host, _News]]:
        host = Host(settings.data, purpose="run", **options)
        news = _News(settings.json, host)
        async with host:
            yield host, news

    async with (
        taken(settings.data, running) as (host, news),
        _metrics(host, metrics_at) as scraped_at,
        _http(host, http_at) as asked_at,
    ):
        freeze_loaded()
        news.ready(scraped_at, asked_at)
        await asyncio.Event().wait()


@asynccontextmanager
async def _metrics(host: "Host", where: str | None) -> AsyncIterator[str]:
    """Served while the block runs; where."""
    if where is None:
        yield ""
        return
    from mmplatform.diagnosis import metrics, scrape

    server = await scrape.serve(where, metrics.page(host.platform).render)
    try:
        name, port = server.sockets[0].getsockname()[:2]
        yield f"http://{f'[{name}]' if ':' in name else name}:{port}/metrics"
    finally:
        server.close()


@asynccontextmanager
async def _http(host: "Host", where: str | None) -> AsyncIterator[str]:
    """Open while the block runs; where."""
    if where is None:
        yield ""
        return
    from mmplatform.cli.http.door import HttpDoor

    assert host.platform.parts.folder is not None
    async with HttpDoor(host, host.platform.parts.folder.path, where) as door:
        yield door.url


def _check_http(where: str) -> None:
    from mmplatform.cli.http import door

    try:
        door.parse(where)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--http") from None


def _check_metrics(where: str) -> None:
    from mmplatform.diagnosis import scrape

    try:
        scrape.parse(where)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--metrics") from None


class _News:
    """What happens to the node, one line each."""

    def __init__(self, as_json: bool, host: "Host") -> None:
        self._json, self._platform, self._services = as_json, host.platform, host.services
        self._relays, self._stun = host.relays, host.stun
        self._platform.on("connection", self._connected)
        self._platform.on("disconnected", self._disconnected)
        self._platform.on("asking", self._asking)

    def ready(self, metrics_at: str, http_at: str) -> None:
        mine = self._platform.directory.own_record
        assert mine is not None
        listening = list(mine.connection_info)
        if self._json:
            self._emit(
                "ready",
                signId=self._platform.sign_id,
                listening=listening,
                pid=os.getpid(),
                services=list(self._services),
                relays=list(self._relays),
                stun=list(self._stun),
                metrics=metrics_at,
                http=http_at,
            )
            return
        signalled = {c.address for c in self._platform.parts.dialer.candidates(listening) if c.signalled}
        direct = [address for address in listening if address not in (*self._relays, *signalled)]
        news(f"{self._platform.sign_id} listens on {', '.join(direct) or 'nothing'}")
        for relay in self._relays:
            news(f"is reached through {relay}")
        if signalled:
            helped = f", with the help of {', '.join(self._stun)}" if self._stun else ""
            news(f"makes direct links through NATs{helped}")
        if self._services:
            news(f"finds and is found by {', '.join(self._services)}")
        if metrics_at:
            news(f"metrics are at {metrics_at}")
        if http_at:
            from mmplatform.cli.http.token import NAME

            assert self._platform.parts.folder is not None
            news(f"programs use it at {http_at}, with the token in {self._platform.parts.folder.path / NAME}")
        news("Ctrl-C stops it; mm id --ticket prints what peers need to reach it")

    def _connected(self, peer: str) -> None:
        if self._json:
            self._emit("connection", signId=peer, name=self._name(peer))
        else:
            news(f"connected: {self._name(peer) or peer}")

    def _disconnected(self, peer: str, reason: Disconnection) -> None:
        if self._json:
            self._emit("disconnected", signId=peer, name=self._name(peer), reason=reason.text, closed=reason.kind)
        else:
            news(f"disconnected: {self._name(peer) or peer} ({reason})")

    def _asking(self, peer: str) -> None:
        if self._json:
            self._emit("asking", signId=peer, name=self._name(peer))
        else:
            news(f"{self._name(peer) or peer} asks to be a friend: mm accept {self._name(peer) or peer} --name NAME")

    def _name(self, peer: Any) -> str:
        return self._platform.contacts.name(peer)

    def _emit(self, event: str, **details: Any) -> None:
        news({"event": event, **details})
