"""Who has a place for a series, and who gives way."""

from dataclasses import dataclass

from mmplatform.messaging.series_places import OF_NETWORK, OF_PEER, OF_STRANGER, OF_STRANGERS, SeriesPlaces


@dataclass(eq=False)
class One:
    """A series."""

    sender: str
    party: object = "network"
    pulled: float = 0.0
    scope: str = "public"
    open: bool = True


def taken(places: SeriesPlaces[One], *guests: One) -> list[One]:
    for guest in guests:
        places.take(guest)
    return list(guests)


def test_a_peer_has_some() -> None:
    places = SeriesPlaces[One]()
    mine = taken(places, *(One("eve") for _ in range(OF_STRANGER)))
    assert (places.full("eve", "public"), places.full("bob", "public")) == (True, False)
    places.leave(mine[0])
    assert not places.full("eve", "public")
    taken(places, *(One("bob", scope="friends") for _ in range(OF_PEER)))
    assert places.full("bob", "friends")
    assert not places.needs_room("friends", "network"), "friends take no place of strangers, and give none"


def test_a_network_has_a_share_and_one_of_who_has_most_gives_way_in_it() -> None:
    places = SeriesPlaces[One]()
    one = taken(places, *(One(f"{n % 8}", "there", float(n)) for n in range(OF_NETWORK - 1)), One("bob", "here"))
    assert not places.needs_room("public", "there")
    [last] = taken(places, One("9", "there", 5.0))
    assert places.needs_room("public", "there")
    assert not places.needs_room("public", "here")
    loser = places.loser("carol", "there")
    assert loser is one[0], "of a sender with eight, what was pulled first"
    one[0].open = False
    assert places.loser("carol", "there") is one[1], "what is being closed gives way already"
    assert last in places._strangers


def test_all_strangers_have_a_bound_and_nobody_gives_way_to_who_has_as_many() -> None:
    places = SeriesPlaces[One]()
    taken(places, *(One(str(n), n // OF_STRANGER) for n in range(OF_STRANGERS)))
    assert places.needs_room("public", "new")
    assert places.loser("0", 0) is None
    assert places.loser("new", "new") is not None
