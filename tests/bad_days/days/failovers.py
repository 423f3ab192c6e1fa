"""Bad days of stores with several servers: Sentinel and Redis Cluster, whose primaries die, freeze or were ahead."""

import asyncio
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.relay_process import RelayProcess
from mmplatform.identity.keys import Identity
from tests.bad_days.fleet import Fleet, pair
from tests.bad_days.registry import bad_day
from tests.bad_days.scene import Scene
from tests.support.redis_fleets import PASSWORD, SENTINEL_PASSWORD, RedisNodes, Sentinels


async def mail_through(scene: Scene, url: str, dies: Callable[[], Awaitable[None]], secrets: tuple[str, ...]) -> None:
    """Alice mails 40 messages to Bob, who is away; the store loses its primary after 20. Bob comes when Alice has left.

    What was told Stored at the death is at the replica, too, so all of it is there in the end.
    """
    relay = await scene.relay("-v", "--store", url)
    bob, alice = await scene.node("bob", relay), await scene.node("alice", relay)
    await scene.friends(alice, bob)
    await bob.stop()
    sent = [await alice.messaging.send("chat", bob.sign_id, number) for number in range(1, 21)]

    def relayed() -> bool:
        return all(delivery.state == "relayed" for delivery in sent)

    await scene.within(15, relayed, "the relay keeps nothing")
    await dies()
    for number in range(21, 41):
        sent.append(await alice.messaging.send("chat", bob.sign_id, number))
        await scene.rest(0.05)
    await scene.within(30, relayed, "mail is not kept after the death of the primary", named="kept again after")
    await alice.stop()

    async def ready() -> bool:
        return (await relay.health()).startswith("200")

    await scene.within(15, ready, "the relay is not ready again", named="ready again")
    again = await scene.node("bob", relay)
    heard = scene.heard(again)
    await scene.within(10, lambda: not heard.lost(40), "what was told Stored is lost", named="all 40 in")
    scene.holds(not heard.repeated, f"{heard.repeated} came twice")
    quoted = [secret for secret in secrets if relay.log and secret in relay.log.read_text()]
    scene.holds(not quoted, "a password is in the log")


@bad_day(quick=False, most=120)
async def sentinel_promotes_the_replica(scene: Scene) -> None:
    """The primary that sentinels watch is killed under load: the relay goes on at the replica, nothing is lost."""
    sentinels = Sentinels()
    scene.stack.callback(sentinels.remove)
    await sentinels.start()

    async def dies() -> None:
        await sentinels.primary.command("WAIT", "1", "2000")
        sentinels.primary.kill()

    await mail_through(scene, sentinels.url, dies, (PASSWORD, SENTINEL_PASSWORD))
    scene.holds(await sentinels.primary_port() == sentinels.replica.port, "no failover")


@bad_day(quick=False, most=120)
async def a_node_of_the_redis_cluster_dies(scene: Scene) -> None:
    """The node of a Redis Cluster that has the relay's slot is killed under load; its replica takes over."""
    nodes = RedisNodes(replicas=1)
    scene.stack.callback(nodes.remove)
    await nodes.start()

    async def dies() -> None:
        [name] = [each.name for each in scene.folder.iterdir() if each.name.startswith("relay") and each.is_dir()]
        key = Identity.load_or_create(scene.folder / name / "identity").sign_key.hex()[:16]
        owner = await nodes.owner(f"{{mm-relay:{key}}}")
        await owner.command("WAIT", "1", "2000")
        owner.kill()

    await mail_through(scene, nodes.url, dies, (PASSWORD,))


@bad_day(quick=False, most=120)
async def the_primary_freezes(scene: Scene) -> None:
    """The primary that sentinels watch stops for 20 s, and comes back as a replica: nothing told Stored is lost."""
    sentinels = Sentinels()
    scene.stack.callback(sentinels.remove)
    await sentinels.start()

    async def freezes() -> None:
        await sentinels.primary.command("WAIT", "1", "2000")
        sentinels.primary.signal(signal.SIGSTOP)
        thaw = asyncio.get_running_loop().call_later(20, sentinels.primary.signal, signal.SIGCONT)
        scene.stack.callback(thaw.cancel)

    await mail_through(scene, sentinels.url, freezes, (PASSWORD, SENTINEL_PASSWORD))
    scene.holds(await sentinels.primary_port() == sentinels.replica.port, "no failover")


@bad_day(quick=False, most=120)
async def the_replica_lagged(scene: Scene) -> None:
    """The replica that is promoted lacks 20 of 40 envelopes told Stored: their sender, who lives, sends them anew."""
    sentinels = Sentinels()
    scene.stack.callback(sentinels.remove)
    await sentinels.start()
    relay = await scene.relay("-v", "--store", sentinels.url)
    bob, alice = await scene.node("bob", relay), await scene.node("alice", relay)
    await scene.friends(alice, bob)
    await bob.stop()
    sent = [await alice.messaging.send("chat", bob.sign_id, number) for number in range(1, 21)]
    await scene.within(15, lambda: all(each.state == "relayed" for each in sent), "the relay keeps nothing")
    await sentinels.primary.command("WAIT", "1", "2000")
    sentinels.replica.signal(signal.SIGSTOP)
    sent += [await alice.messaging.send("chat", bob.sign_id, number) for number in range(21, 41)]
    await scene.within(15, lambda: all(each.state == "relayed" for each in sent), "the relay keeps nothing more")
    sentinels.primary.kill()
    sentinels.replica.signal(signal.SIGCONT)

    async def promoted() -> bool:
        return await sentinels.primary_port() == sentinels.replica.port

    await scene.within(30, promoted, "no failover", named="failover in")
    again = await scene.node("bob", relay)
    heard = scene.heard(again)
    await scene.within(20, lambda: not heard.lost(40), "messages are lost", named="all 40 in")
    scene.holds(not heard.repeated, f"{heard.repeated} came twice")


@bad_day(quick=False, most=120)
async def links_after_a_failover(scene: Scene) -> None:
    """Friends at two processes of a relay write on while Sentinel gives the store another primary."""
    sentinels = Sentinels()
    scene.stack.callback(sentinels.remove)
    await sentinels.start()
    both = await Fleet(scene, lambda port: sentinels.url, lambda: 0).start()
    alice, bob = await pair(scene, both)
    heard = scene.heard(bob)
    await alice.messaging.send("chat", bob.sign_id, 1)
    await scene.within(5, lambda: not heard.lost(1), "the first message does not come")
    sentinels.primary.kill()
    for number in range(2, 42):
        await alice.messaging.send("chat", bob.sign_id, number)
        await scene.rest(0.25)
    await scene.within(10, lambda: not heard.lost(41), "a message is lost", named="all in")
    scene.tell(f"longest gap {heard.gap:.1f} s")
    scene.holds(not heard.repeated, "a message came twice")
    scene.holds(heard.gap < 10, "live messages wait for too long")


@bad_day(quick=False, most=90)
async def the_wrong_password(scene: Scene) -> None:
    """A relay has the wrong password of Redis: it does not start, says so, and quotes no password."""
    sentinels = Sentinels()
    scene.stack.callback(sentinels.remove)
    await sentinels.start()
    for url in (sentinels.url.replace(PASSWORD, "guessed-it"), sentinels.url.replace(SENTINEL_PASSWORD, "guessed-it")):
        said = await refused(scene.folder / "refused", "--store", url)
        scene.holds("guessed-it" not in said and PASSWORD not in said, "it quotes a password")
        scene.tell(f"operator: {said}")


async def refused(folder: Path, *options: str) -> str:
    """Return what a relay says that does not start."""
    log = folder.with_suffix(".log")
    log.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    relay = RelayProcess(folder, *options, log=log)
    try:
        await relay.start()
    except RuntimeError:
        return log.read_text().strip()
    await relay.kill()
    return "it started"
