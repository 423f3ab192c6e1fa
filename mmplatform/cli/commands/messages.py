"""mm send, request and ping: what goes to one peer."""

import asyncio
from typing import Any, Final, get_args

import click

from mmplatform.cli import completing
from mmplatform.cli.command import FAILED, OK, SECONDS, Command, Settings, execute, pass_settings
from mmplatform.cli.commands.lines import send_lines
from mmplatform.cli.node.access import node
from mmplatform.cli.output import emit, note, payload_text, say
from mmplatform.cli.stdio import decoded, read_all
from mmplatform.cli.terminal import is_terminal
from mmplatform.message import DEFAULT_EXPIRY, UNHANDLED, PriorityName

json_payload = click.option("-j", "--json-payload", is_flag=True, help="The payload is JSON: send the value it means.")
UNENDED: Final = ("waiting", "sent", "relayed", "received")


@click.command("send", cls=Command)
@click.argument("peer", shell_complete=completing.peers)
@click.argument("topic")
@click.argument("payload", required=False)
@json_payload
@click.option("--lines", is_flag=True, help="Each line of stdin is a message; an interrupted run is continued.")
@click.option("--fresh", is_flag=True, help="With --lines: send all, whatever an interrupted run had sent.")
@click.option("--realtime", is_flag=True, help="At most once, never saved; fails when no link can be made.")
@click.option("--expire-after", type=SECONDS, default=DEFAULT_EXPIRY, metavar="S", help="Seconds, by default 7 days.")
@click.option("--priority", type=click.Choice(get_args(PriorityName)), default="normal", show_default=True)
@click.option(
    "--wait/--no-wait", default=None,
    help="Wait until the peer's handlers are done, however long; or not at all. By default one message waits until it "
    "is delivered or received, some seconds at most, and --lines waits so for all.",
)  # fmt: skip
@click.option("--timeout", type=SECONDS, metavar="S", help="Wait so many seconds at most; fails when not delivered.")
@pass_settings
def send(
    settings: Settings, peer: str, topic: str, payload: str | None, json_payload: bool, lines: bool, fresh: bool,
    realtime: bool, expire_after: float, priority: str, wait: bool | None, timeout: float | None,
) -> int:  # fmt: skip
    """Send PAYLOAD (text; - or nothing reads stdin) to the listeners of TOPIC at PEER.

    PEER may be a list, as @family (see mm list), @friends or @devices: all members are sent it, or none; each has a
    line of the answer, and the exit code is that of the worst.

    Once accepted a message is on disk, and is sent until PEER confirms it or it expires, by whichever node next runs
    on this data folder. A message that is received is on PEER's disk until something there listens to TOPIC; mm
    delivery ID tells later how it ended. Exit code 0: delivered, received, relayed, or waiting for when PEER is
    reachable. 1: failed, refused, expired, not delivered with --wait or within --timeout, or not accepted.

    \b
      mm send bob chat 'hello there'
      mm send bob reading -j '{"celsius": 21.5}'
      mm send bob photo - < cat.jpg
      seq 100000 | mm send bob numbers --lines
      mm send @family chat hello
    """
    options = {
        "peer": peer, "topic": topic, "realtime": realtime, "expire_after": expire_after, "priority": priority,
        "timeout": timeout,
    }  # fmt: skip
    if lines:
        if payload not in (None, "-"):
            raise click.UsageError("--lines reads stdin; give it no PAYLOAD")
        return int(execute(lambda: send_lines(settings, options, json_payload, fresh, wait)))
    if fresh:
        raise click.UsageError("--fresh belongs to --lines")
    return int(execute(lambda: _send(settings, options, payload, json_payload, wait)))


async def _send(
    settings: Settings, options: dict[str, Any], payload: str | None, as_json: bool, wait: bool | None
) -> int:
    value = await _value(payload, as_json)
    if wait is None and options["timeout"] is not None:
        wait = True
    result: dict[str, Any] = {}
    async with node(settings.data) as there, await there.open("send", payload=value, wait=wait, **options) as channel:
        try:
            async for saved in channel:
                result = saved
        except asyncio.CancelledError:
            if result:
                ids = ", ".join(result.get("ids") or [result["id"]])
                note(f"waiting ({ids}); it is sent while a node runs on this folder: mm run")
            raise
        result = channel.result
        own = there.own
    members = result.get("members")
    for each in [result] if members is None else members:
        if settings.json:
            emit(each)
        elif members is None:
            say(_told(each, options["peer"], options["topic"], wait))
        else:
            name = each["name"] or each["peer"]
            say(f"{name}: {_told(each, name, options['topic'], wait)}")
    if not settings.json and own and any(map(_waits, members or [result])):
        note("it is sent while a node runs on this folder: keep one running with mm run")
    return max(_code(each, wait) for each in members or [result])


def _code(result: dict[str, Any], wait: bool | None) -> int:
    bad = result["state"] in ("failed", "refused", "expired", "cancelled", "dropped")
    return FAILED if bad or (wait is True and result["state"] in UNENDED) else OK


def _waits(result: dict[str, Any]) -> bool:
    """Whether a message is still to be sent; a realtime one is sent, and that is its end."""
    return result["state"] in ("waiting", "sent") and "connected" in result


def _told(result: dict[str, Any], peer: str, topic: str, wait: bool | None) -> str:
    """Return what to say of the message to one peer."""
    state, reason, waits = result["state"], result["reason"], _waits(result)
    if waits and wait is False:
        return f"{state} ({result['id']})"
    if waits and result["connected"]:
        return f"{state}; {peer} has not confirmed it yet"
    if waits:
        return f"{state}; will be sent when {peer} is reachable ({reason})"
    if state == "received":
        return f"received: {peer} keeps it until something there listens to {topic}"
    if state == "relayed":
        return f"relayed: a relay keeps it until {peer} is there"
    if reason == UNHANDLED.reason:
        return f"{state}: nobody at {peer} listens to {topic}, and {peer} keeps only what friends and devices send"
    return f"{state}: {reason}" if reason else str(state)


@click.command("request", cls=Command)
@click.argument("peer", shell_complete=completing.peers)
@click.argument("topic")
@click.argument("payload", required=False)
@json_payload
@click.option("--timeout", type=SECONDS, default=10.0, show_default=True, metavar="S", help="Seconds, for each answer.")
@click.option("--many", is_flag=True, help="Print all answers of a handler that has many, each as it comes.")
@pass_settings
def request(
    settings: Settings, peer: str, topic: str, payload: str | None, json_payload: bool, timeout: float, many: bool
) -> int:
    """Ask PEER and print the answer of whoever serves TOPIC there.

    PAYLOAD is text, - reads it from stdin; without one nothing is sent along.

    \b
      mm request bob time
      mm request bob add -j '[1, 2]' --timeout 5
      mm request bob log --many | grep error
    """

    def show(reply: Any) -> None:
        emit({"payload": reply}) if settings.json else say(payload_text(reply))

    async def ask() -> None:
        value = await _value(payload, json_payload) if payload is not None else None
        asked = {"peer": peer, "topic": topic, "payload": value, "timeout": timeout}
        async with node(settings.data) as there:
            if not many:
                show(await there.call("request", **asked))
                return
            async with await there.open("request_many", **asked) as replies:
                async for reply in replies:
                    show(reply)

    execute(ask)
    return OK


@click.command("ping", cls=Command)
@click.argument("peer", shell_complete=completing.peers)
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="How often.")
@click.option("--timeout", type=SECONDS, default=10.0, show_default=True, metavar="S", help="Seconds, each.")
@pass_settings
def ping(settings: Settings, peer: str, count: int, timeout: float) -> int:
    """Measure the round trip to PEER, through the encrypted session.

    \b
      mm ping bob --count 10
    """

    async def measure() -> None:
        async with node(settings.data) as there:
            for number in range(1, count + 1):
                seconds = await there.call("ping", peer=peer, timeout=timeout)
                if settings.json:
                    emit({"peer": peer, "number": number, "seconds": seconds})
                else:
                    say(f"{peer}: {seconds * 1000:.2f} ms")

    execute(measure)
    return OK


async def _value(payload: str | None, as_json: bool) -> Any:
    """What to send: the JSON value, or text, or bytes where stdin is no text."""
    if payload is None or payload == "-":
        if payload is None and is_terminal(0):
            note("reading the payload from the terminal; Ctrl-D ends it")
        data = await read_all(0)
    else:
        data = payload.encode(errors="surrogateescape")
    return decoded(data, as_json)
