"""Background work of a service: nothing runs on after its stop, and no failure is silent."""

import asyncio

from mm_services.tasks import Tasks


async def test_what_one_raises_is_told_and_the_others_run_on() -> None:
    told: list[Exception] = []
    tasks, done = Tasks("mm test", told.append), asyncio.Event()

    async def fails() -> None:
        raise OSError("no such device")

    async def works() -> None:
        await asyncio.sleep(0)
        done.set()

    tasks.spawn(fails())
    tasks.spawn(works())
    await done.wait()
    assert [str(error) for error in told] == ["no such device"]


async def test_close_ends_what_runs_and_tells_of_no_failure() -> None:
    told: list[Exception] = []
    tasks, ended = Tasks("mm test", told.append), asyncio.Event()

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    tasks.spawn(for_ever())
    await asyncio.sleep(0)
    await tasks.close()
    assert ended.is_set()
    assert told == []
    assert "mm test" not in [task.get_name() for task in asyncio.all_tasks()]
