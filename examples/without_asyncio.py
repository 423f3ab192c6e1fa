"""Two nodes in a program without asyncio: calls block, handlers are plain functions in threads."""

from typing import Any

from mmplatform import NoResponders, sync


def main() -> None:
    with sync.Platform() as alice, sync.Platform() as bob:
        bob.add(alice.ticket(), name="alice", circle="friends")
        alice.add(bob.ticket(), name="bob", circle="friends")

        @bob.on("friends.chat")
        def chat(topic: str, sender: str, payload: Any) -> None:
            print(f"{bob.request('who', sender)} says {payload}")  # a handler may wait: it has a thread

        alice.on("friends.who", lambda topic, sender, payload: "alice")
        bob.on("friends.double", lambda topic, sender, payload: payload * 2)
        bob.set_up()

        print(alice.send("chat", "bob", "hi").wait(5).state)
        print(alice.request("double", "bob", 21))
        try:
            alice.request("nothing", "bob")
        except NoResponders as error:
            print(error)


main()
