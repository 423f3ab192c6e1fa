"""A bot that nobody can dial: it is met at a relay, takes notes for whoever asks to be its friend, and reminds them.

python bot_behind_relay.py FOLDER RELAY             its first line is its ticket
"""

import asyncio
import sys
from dataclasses import dataclass

from mmplatform import Message, Platform


@dataclass
class Reminder:
    text: str
    seconds: float = 0.0


def main(folder: str, relay: str) -> None:
    bot = Platform(folder, connection_info=(), relays=[relay])

    @bot.on("ready")
    def ready() -> None:
        print(bot.ticket(), flush=True)

    @bot.on("asking")
    async def asking(peer: str) -> None:  # a bot for everybody; look here at who it is, if it is not
        await bot.add(peer, circle="friends")
        await bot.messaging.send("chat", peer, "hello! send me notes, and request notes")

    @bot.messaging.on("friends.note", str, ordered=True)
    async def note(topic: str, sender: str, text: str, message: Message) -> None:
        message.put(f"notes/{sender}", [*await bot.kept.get(f"notes/{sender}", []), text])

    @bot.messaging.on("friends.notes")
    async def notes(topic: str, sender: str, payload: None) -> list[str]:
        return list(await bot.kept.get(f"notes/{sender}", []))

    @bot.messaging.on("friends.remind", Reminder, concurrency=100)
    async def remind(topic: str, sender: str, reminder: Reminder) -> None:
        await asyncio.sleep(reminder.seconds)  # the message ends with its handler: a restart begins it again
        await bot.messaging.send("chat", sender, reminder.text)

    bot.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
