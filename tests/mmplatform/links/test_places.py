"""Places: of the network with most, who was idle for longest gives way."""

from dataclasses import dataclass

from mmplatform.links.places import Places


@dataclass(eq=False)
class Visitor:
    network: str
    frames_in: int = 0


def test_the_oldest_of_the_network_with_most_gives_way() -> None:
    places: Places[Visitor] = Places(5)
    many, few = [Visitor("many") for _ in range(3)], [Visitor("few") for _ in range(2)]
    for visitor in [*few, *many]:
        assert places.take(visitor, 5) is None
    assert places.take(Visitor("new"), 5) is many[0]
    assert (len(places), len(list(places))) == (5, 5)
    assert many[0] not in list(places)


def test_a_network_has_its_share_while_others_have_room() -> None:
    places: Places[Visitor] = Places(100)
    visitors = [Visitor("net") for _ in range(3)]
    assert [places.take(visitor, 2) for visitor in visitors] == [None, None, visitors[0]]
    assert places.take(Visitor("elsewhere"), 2) is None


def test_who_is_at_work_stays_and_who_is_idle_goes() -> None:
    places: Places[Visitor] = Places(3)
    visitors = [Visitor("net") for _ in range(3)]
    for visitor in visitors:
        places.take(visitor, 3)
    visitors[0].frames_in += 1
    assert places.take(Visitor("net"), 3) is visitors[1]
    assert places.take(Visitor("net"), 3) is visitors[2]
    assert visitors[0] in list(places)
    for visitor in places:
        visitor.frames_in += 1
    assert places.take(Visitor("net"), 3) is not None, "all were at work, and one has to go"
    assert len(places) == 3


def test_a_place_is_free_once_and_for_who_had_none_nothing_changes() -> None:
    places: Places[Visitor] = Places(2)
    visitor = Visitor("net")
    places.take(visitor, 2)
    for _ in range(2):
        places.leave(visitor)
    places.leave(Visitor("elsewhere"))
    assert len(places) == 0
    assert places.idlest() is None
