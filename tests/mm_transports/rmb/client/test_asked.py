"""Only a relay that was given a request is believed when it says that it failed."""

from mm_transports.rmb.client.asked import AskedRelays


def test_a_relay_speaks_of_what_it_was_given() -> None:
    asked = AskedRelays()
    asked.sent("uid", "one")
    asked.sent("uid", "two")
    asked.sent("uid", "two")
    assert [asked.has("uid", name) for name in ("one", "two", "three")] == [True, True, False]
    asked.ended("uid")
    asked.ended("uid")
    assert not asked.has("uid", "one")


def test_of_too_many_the_first_is_forgotten() -> None:
    asked = AskedRelays(most=2)
    for uid in "abc":
        asked.sent(uid, "one")
    assert (len(asked), asked.has("a", "one"), asked.has("c", "one")) == (2, False, True)
