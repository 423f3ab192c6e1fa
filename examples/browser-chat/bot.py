"""A bot that answers the page beside this file: `python bot.py RELAY`, where `mm relay --demo` prints the RELAY."""

import sys
from datetime import datetime
from tempfile import mkdtemp

from mmplatform import Platform


def main(relay: str) -> None:
    bot = Platform(mkdtemp(), relays=[relay])

    @bot.messaging.on("public.chat")
    async def heard(topic: str, sender: str, payload: dict[str, str]) -> None:
        await bot.messaging.send("chat", sender, {"text": f"you said: {payload['text']}"})

    @bot.messaging.on("public.time")
    def time(topic: str, sender: str, payload: object) -> str:
        return f"{datetime.now():%H:%M:%S}"

    @bot.on("ready")
    def ready() -> None:
        print(f"http://127.0.0.1:8000/examples/browser-chat/#{bot.ticket()}", flush=True)

    bot.run()  # until Ctrl-C


main(*sys.argv[1:])
