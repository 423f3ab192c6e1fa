"""mm rmb call, serve and ping: one twin asks another, answers by a program, or looks who is there."""

import json
import secrets
import shlex
import time
from typing import TYPE_CHECKING, Any

import click

from mm_services.rmb.commands.options import our_twin, twin_options
from mmplatform.cli.command import OK, SECONDS, Command, Interrupted, Settings, execute, pass_settings
from mmplatform.cli.output import emit, news, note, payload_text, say
from mmplatform.cli.terminal import is_terminal
from mmplatform.errors import RequestTimeout

if TYPE_CHECKING:
    from mm_services.rmb.twin import Twin
    from mm_transports.rmb.protocol.address import TwinAddress


def session_of_ours() -> str:
    """Return a session of our twin's for one command: the one without a name is that of its service."""
    return f"mm-{secrets.token_hex(6)}"


@click.command("call", cls=Command)
@click.argument("twin")
@click.argument("command")
@click.argument("payload", required=False)
@click.option("-j", "--json-payload", is_flag=True, help="The payload is JSON: send the value it means.")
@click.option("--timeout", type=SECONDS, default=30.0, show_default=True, metavar="S", help="Seconds for the answer.")
@click.option("--fail-fast", is_flag=True, help="Fail at once when the twin is away.")
@twin_options
@pass_settings
def call(
    settings: Settings, /, twin: str, command: str, payload: str | None, json_payload: bool, timeout: float,
    fail_fast: bool, **who: Any,
) -> int:  # fmt: skip
    """Ask TWIN (a number, or 30:session) to run COMMAND, and print its answer.

    PAYLOAD is text, - reads it from stdin; without one it is null. A relay keeps the request while the twin is away,
    until --timeout. Exit code 1: there is no answer, or it is an error.

    \b
      mm rmb call 30 calc.add -j '[1, 2]' --secret-file secret
      mm rmb call 30 file.put - --secret-file secret --relay wss://relay.example < photo
    """

    async def ask() -> None:
        value = await _value(payload, json_payload) if payload is not None else None
        async with our_twin(settings, session=session_of_ours(), **who) as ours, ours:
            answer = await ours.request(twin, command, value, timeout, fail_fast=fail_fast)
        emit({"payload": answer}) if settings.json else say(payload_text(answer))

    execute(ask)
    return OK


@click.command("serve", cls=Command)
@click.argument("command")
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-j", "--json-answer", is_flag=True, help="What PROGRAM writes is JSON: answer the value it means.")
@click.option(
    "--at-once", type=click.IntRange(1, 256), default=8, show_default=True, metavar="N", help="Programs at a time.",
)  # fmt: skip
@twin_options
@pass_settings
def serve(
    settings: Settings, /, command: str, program: tuple[str, ...], json_answer: bool, at_once: int, **who: Any
) -> int:
    """Answer COMMAND by what PROGRAM writes: it reads the payload, text as it is and other values as JSON.

    MM_TOPIC is the command and MM_SENDER the twin that asks, in the environment of PROGRAM. When it fails, whoever
    asked is told its exit code. Ends with Ctrl-C; a request whose answer was not sent by then is asked again.

    \b
      mm rmb serve time --secret-file secret -- date +%s
      mm rmb serve calc.sum -j --secret-file secret -- jq add
    """
    from mmplatform.cli.commands.replies import Program

    replies = Program(shlex.join(program))

    async def answer(command: str, sender: "TwinAddress", payload: Any) -> Any:
        from mmplatform.errors import Refused

        (said,) = await replies.to([(command, str(sender), "", payload, {"kind": "request"})])
        assert said is not None
        if "error" in said:
            raise Refused(said["error"])
        if not json_answer:
            return said["value"]
        try:
            return json.loads(said["value"])
        except ValueError:
            raise Refused(f"{program[0]} wrote no JSON") from None

    async def run() -> None:
        import asyncio

        async with our_twin(settings, at_once=at_once, **who) as ours:
            ours.on(command)(answer)
            async with ours:
                await _connected_or_said(ours)
                facts = {"twin": ours.at.twin, "serves": command, "relays": list(ours.relays)}
                news(facts if settings.json else f"twin {ours.at} serves {command} at {', '.join(ours.relays)}")
                await asyncio.Event().wait()

    try:
        execute(run)
    except Interrupted as interrupted:
        return interrupted.ended
    return OK


@click.command("ping", cls=Command)
@click.argument("whom", metavar="TWIN|RELAY")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="How often.")
@click.option("--timeout", type=SECONDS, default=10.0, show_default=True, metavar="S", help="Seconds, each.")
@twin_options
@pass_settings
def ping(settings: Settings, /, whom: str, count: int, timeout: float, **who: Any) -> int:
    """Measure the round trip to a twin (a number, or 30:session), or to a relay (a URL).

    A twin is asked for rmb.version, which each answers. At a relay of ours the answer also says that its disk keeps up.

    \b
      mm rmb ping 30 --secret-file secret --count 10
      mm rmb ping wss://relay.example --secret-file secret
    """
    if is_relay := "://" in whom:
        who["relays"] = (whom,)

    async def measure() -> None:
        async with our_twin(settings, session=session_of_ours(), **who) as ours, ours:
            await _in_time(ours, timeout)
            for number in range(1, count + 1):
                began, version = time.monotonic(), None
                if is_relay:
                    await _answered(ours, next(iter(ours.relays)), timeout)
                else:
                    version = await ours.request(whom, "rmb.version", timeout=timeout, fail_fast=True)
                seconds = time.monotonic() - began
                if settings.json:
                    facts = {"relay": whom} if is_relay else {"twin": whom, "version": version}
                    emit({**facts, "number": number, "seconds": seconds})
                else:
                    say(f"{whom}: {seconds * 1000:.2f} ms" + (f", {payload_text(version)}" if version else ""))

    execute(measure)
    return OK


async def _in_time(ours: "Twin", timeout: float) -> None:
    """Wait for a relay. Raises RequestTimeout."""
    import asyncio

    try:
        async with asyncio.timeout(timeout):
            await ours.connected()
    except TimeoutError:
        raise RequestTimeout(f"no relay is connected: {ours.away}") from None


async def _answered(ours: "Twin", relay: str, timeout: float) -> None:
    """Ping a relay. Raises RequestTimeout, Unreachable."""
    import asyncio

    try:
        async with asyncio.timeout(timeout):
            await ours.ping_relay(relay)
    except TimeoutError:
        raise RequestTimeout(f"{relay} has not answered a ping of RMB within {timeout:g} s") from None


async def _connected_or_said(ours: "Twin") -> None:
    """Wait for a relay; say once what keeps it away, and go on waiting."""
    try:
        await _in_time(ours, 5.0)
    except RequestTimeout as error:
        note(f"{error}; it is tried again and again")
        await ours.connected()


async def _value(payload: str, as_json: bool) -> Any:
    """Return what to send: the JSON value, or text, or bytes where stdin is no text."""
    from mmplatform.cli.stdio import decoded, read_all

    if payload == "-":
        if is_terminal(0):
            note("reading the payload from the terminal; Ctrl-D ends it")
        data = await read_all(0)
    else:
        data = payload.encode(errors="surrogateescape")
    return decoded(data, as_json)
