"""How often a peer may have an offer answered."""

from mm_transports.webrtc.protocol import rates
from mm_transports.webrtc.protocol.rates import BURST, MAX_PEERS, Rates
from mmplatform.identity.keys import SignId


def test_a_burst_then_one_a_second_for_each_peer() -> None:
    bucket, peer = Rates(), SignId("a")
    assert [bucket.admit(peer, 0.0) for _ in range(int(BURST) + 1)] == [True] * int(BURST) + [False]
    assert bucket.admit(SignId("b"), 0.0)
    assert not bucket.admit(peer, 0.5)
    assert bucket.admit(peer, 1.0 / rates.RATE)
    assert not bucket.admit(peer, 1.0 / rates.RATE)
    assert [bucket.admit(peer, 1000.0) for _ in range(int(BURST) + 1)].count(True) == BURST


def test_friends_may_connect_again_thirty_times_in_a_row() -> None:
    bucket, friend = Rates(), SignId("a")
    assert all(bucket.admit(friend, number / 10, True) for number in range(40))
    assert not all(bucket.admit(SignId("b"), number / 10) for number in range(40))


def test_the_oldest_of_too_many_peers_is_forgotten() -> None:
    bucket = Rates()
    for number in range(MAX_PEERS + 5):
        bucket.admit(SignId(str(number)), 0.0)
    assert len(bucket._buckets) == MAX_PEERS
    assert "4" not in bucket._buckets
