"""A group that talks and sends files; everybody runs this, and adds the tickets of the others.

python group_of_four.py FOLDER                      its first line is its ticket; then, on stdin:
    add NAME TICKET     a member, and what to call it here
    file PATH           send a file to all others; theirs are in FOLDER/files
    anything else       is said to all others; an empty line ends it, once all have what was sent
"""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from mmplatform import NotAllDelivered, Platform

GROUP = "@group"


@dataclass
class Attachment:
    name: str
    content: bytes


class Member:
    def __init__(self, folder: str) -> None:
        self.files, self.platform = Path(folder) / "files", Platform(folder)
        self.platform.messaging.on("friends.said", str, self.said)
        self.platform.messaging.on("friends.file", Attachment, self.received)

    def said(self, topic: str, sender: str, text: str) -> None:
        print(f"{self.platform.contacts.name(sender)}: {text}", flush=True)

    def received(self, topic: str, sender: str, attachment: Attachment) -> None:
        self.files.mkdir(exist_ok=True)
        name = Path(attachment.name).name  # whatever path the sender names
        path = self.files / f"{self.platform.contacts.name(sender)}-{name}"
        path.write_bytes(attachment.content)
        print(f"{path} has come", flush=True)

    async def add(self, name: str, ticket: str) -> None:
        lists = self.platform.contacts.lists
        peer = await self.platform.add(ticket, name=name, circle="friends")
        await (lists.extend(GROUP, peer) if GROUP in lists else lists.make(GROUP, peer))

    async def tell(self, topic: str, payload: str | Attachment) -> None:
        delivery = await self.platform.messaging.send(topic, GROUP, payload)  # on disk for all of them, or for none
        try:
            await delivery
            print("all have it", flush=True)
        except NotAllDelivered as error:
            print("not all have it:", error, flush=True)

    async def run(self) -> None:
        async with self.platform, asyncio.TaskGroup() as telling:
            print(self.platform.ticket(), flush=True)
            while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
                match line.split():
                    case ["add", name, ticket]:
                        await self.add(name, ticket)
                    case ["file", path]:
                        content = await asyncio.to_thread(Path(path).read_bytes)
                        telling.create_task(self.tell("file", Attachment(path, content)))
                    case _:
                        telling.create_task(self.tell("said", line))


if __name__ == "__main__":
    asyncio.run(Member(sys.argv[1]).run())
