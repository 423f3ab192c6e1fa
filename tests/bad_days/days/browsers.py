"""Bad days of browsers: what a site keeps is blocked, cleared or full, the page is plain http, the clock is off."""

from typing import Any, Final

from mmplatform import Platform
from mmplatform.errors import HandlerFailed
from tests.bad_days.browser import PLAIN, Browser, browser
from tests.bad_days.registry import bad_day
from tests.bad_days.scene import Broke, Scene
from tests.bad_days.small_disks import small_disk

WEEKS: Final = 21 * 24 * 3600 * 1000  # milliseconds
LARGE: Final = 3_000_000  # bytes of a message
LEFT: Final = 100_000  # bytes that a full disk has
SHIFT: Final = "{ const now = Date.now; window.shift = %d; Date.now = () => now() + window.shift; }"


def says(scene: Scene, answer: dict[str, Any], name: str, *remedies: str) -> None:
    """Hold an error to its name and to what it advises."""
    scene.tell(f"{answer.get('name', 'no error')}: {answer.get('text', '')[:90]}...")
    scene.holds(answer.get("name") == name, f"it is not {name}: {answer}")
    for remedy in remedies:
        scene.holds(remedy in answer["text"], f"it does not advise: {remedy}")


async def bot_of(scene: Scene) -> tuple[str, Platform]:
    """A relay, and a node at home there."""
    relay = await scene.relay()
    return relay.address, await scene.node("bot", relay)


async def befriended(page: Browser, relay: str, bot: Platform) -> str:
    """Open the page at the relay, and make it a friend of the bot; return its signId."""
    peer = str((await page.open(relay, bot.ticket()))["signId"])
    await bot.add(peer, circle="friends")
    return peer


async def goes(scene: Scene, page: Browser, bot: Platform, heard: Any, number: int, within: float = 10) -> float:
    """Send a number from the page; how long it takes to be there."""
    answer = await page.evaluate(f"window.send({number})")
    scene.holds(answer["name"] == "", f"the page cannot send: {answer}")
    return await scene.within(within, lambda: number in heard.numbers, f"{number} did not arrive")


@bad_day()
async def site_data_are_blocked(scene: Scene) -> None:
    """Cookies and site data are blocked: the page is told, and can go on with nothing kept."""
    relay, bot = await bot_of(scene)
    async with browser(scene, blocked=True) as page:
        says(scene, await page.open(relay, bot.ticket()), "StorageBlocked", "allow cookies", "MemoryStorage")
        answer = await page.evaluate("window.memory()")
        scene.holds("signId" in answer, f"it does not go on in memory: {answer}")
        await bot.add(answer["signId"], circle="friends")
        took = await goes(scene, page, bot, scene.heard(bot), 1)
        scene.tell(f"in memory it goes on: a message is there in {took:.1f} s")


@bad_day()
async def the_page_is_plain_http(scene: Scene) -> None:
    """The page came by http from another host: no secure context, so no locks between tabs."""
    async with browser(scene) as page:
        says(
            scene, await page.open(site=page.site.replace("127.0.0.1", PLAIN)), "InsecureContext", "https", "localhost"
        )
        answer = await page.evaluate("window.memory()")
        scene.holds("signId" in answer, f"it does not go on in memory: {answer}")


@bad_day()
async def storage_is_cleared_under_a_page(scene: Scene) -> None:
    """Somebody clears the data of the site while the page runs: it says so, goes on, and keeps its key."""
    relay, bot = await bot_of(scene)
    async with browser(scene) as page:
        peer = await befriended(page, relay, bot)
        heard = scene.heard(bot)
        await goes(scene, page, bot, heard, 1)
        await page.chromium.call("Storage.clearDataForOrigin", origin=page.site, storageTypes="all")

        async def named() -> bool:
            return bool(await page.named("StorageCleared"))

        await scene.within(5, named, "the page was not told", named="told in")
        scene.tell(f"{(await page.named('StorageCleared'))[:90]}...")
        await goes(scene, page, bot, heard, 2)
        scene.holds(await page.evaluate("window.keptKey()"), "the key is not kept again")
        again = await page.open(relay, bot.ticket())
        scene.holds(again.get("signId") == peer, f"after a reload it is somebody else: {again}")
        await goes(scene, page, bot, heard, 3)
        scene.holds(heard.numbers == [1, 2, 3], f"heard {heard.numbers}")


@bad_day()
async def storage_is_full_under_a_page(scene: Scene) -> None:
    """The disk of the browser is full: what cannot be kept is not accepted, and it goes on once there is room."""
    relay, bot = await bot_of(scene)
    disk = small_disk(scene, 200, "chromium")
    async with browser(scene) as page:
        await befriended(page, relay, bot)
        heard = scene.heard(bot)
        await goes(scene, page, bot, heard, 1)
        disk.fill(LEFT)
        accepted = 0
        while (answer := await page.evaluate(f"window.send('x'.repeat({LARGE}))"))["name"] == "" and accepted < 20:
            accepted += 1
        says(scene, answer, "StorageFull", "make room")
        disk.give_back()
        await goes(scene, page, bot, heard, 2)
        scene.tell(f"of those before, {accepted} were accepted, and {len(heard.numbers) - 2} came")
        scene.holds(len(heard.numbers) == accepted + 2, "something that was accepted did not come")


@bad_day()
async def the_clock_of_a_page_is_weeks_behind(scene: Scene) -> None:
    """The device is three weeks behind: the page is told, and goes on once the clock is set, without a reload."""
    relay, bot = await bot_of(scene)
    async with browser(scene) as page:
        await page.chromium.call("Page.addScriptToEvaluateOnNewDocument", source=SHIFT % -WEEKS)
        await befriended(page, relay, bot)
        await clock_named(scene, page, "21 days behind")
        await page.evaluate("window.shift = 0")
        took = await goes(scene, page, bot, scene.heard(bot), 1, 15)
        scene.tell(f"once set, a message is there in {took:.1f} s")


async def clock_named(scene: Scene, page: Browser, days: str) -> None:
    async def named() -> bool:
        return days in await page.named("ClockWrong")

    await scene.within(10, named, f"the page was not told: {await page.told()}", named="told in")
    scene.tell(f"{(await page.named('ClockWrong'))[:100]}...")


@bad_day()
async def the_clock_of_a_page_is_weeks_ahead(scene: Scene) -> None:
    """The device is three weeks ahead: messages come and go all the same, and the page is told."""
    relay, bot = await bot_of(scene)
    async with browser(scene) as page:
        await page.chromium.call("Page.addScriptToEvaluateOnNewDocument", source=SHIFT % WEEKS)
        await befriended(page, relay, bot)
        took = await goes(scene, page, bot, scene.heard(bot), 1)
        await clock_named(scene, page, "21 days ahead")
        scene.tell(f"a message is there in {took:.1f} s all the same")


@bad_day()
async def the_clock_of_a_page_is_months_ahead(scene: Scene) -> None:
    """The device is months ahead: tickets look expired, and the text says that it may be the clock."""
    relay, bot = await bot_of(scene)
    async with browser(scene) as page:
        await page.chromium.call("Page.addScriptToEvaluateOnNewDocument", source=SHIFT % (10 * WEEKS))
        says(scene, await page.open(relay, bot.ticket()), "TicketError", "set the clock")
        await page.evaluate("window.shift = 0")
        answer = await page.evaluate("window.start()")
        scene.holds("signId" in answer, f"it does not start once the clock is set: {answer}")
        await bot.add(answer["signId"], circle="friends")
        await goes(scene, page, bot, scene.heard(bot), 1)


@bad_day()
async def a_second_tab(scene: Scene) -> None:
    """A second tab of the same site: it says so, the first goes on, and the second takes over once that is closed."""
    relay, bot = await bot_of(scene)
    async with browser(scene) as page:
        peer = await befriended(page, relay, bot)
        heard = scene.heard(bot)
        tab = await page.chromium.tab()
        says(scene, await page.open(relay, bot.ticket(), tab=tab), "AnotherTab", "close it and try again", "another")
        await goes(scene, page, bot, heard, 1)
        await page.evaluate("window.platform.close()")
        answer = await page.evaluate("window.start()", tab)
        scene.holds(answer.get("signId") == peer, f"the second tab does not take over: {answer}")
        await page.evaluate("window.send(2)", tab)
        await scene.within(10, lambda: heard.numbers == [1, 2], lambda: f"heard {heard.numbers}", named="taken over in")


@bad_day()
async def a_minified_page_fails(scene: Scene) -> None:
    """A handler of a minified page throws an error of its own: the sender reads no name that a minifier has left."""
    relay, bot = await bot_of(scene)
    async with browser(scene) as page:
        peer = await befriended(page, relay, bot)
        await page.evaluate("window.platform.connect(window.bot)")
        delivery = await bot.messaging.send("fail", peer, 1)
        try:
            await delivery
        except HandlerFailed as failed:
            scene.tell(f"the sender is told: {failed}")
            scene.holds("Error: the page cannot" in str(failed), "that is not what it says")
        else:
            raise Broke("the sender is told that it was handled")
