"""What the fuzzer makes of sound inputs decodes again, and differs."""

import random

from mmplatform.codec import pack, unpack
from tests.fuzz.mutate import mutated

FRAME = [0, 1, 2, [], [[2, 1, 1, [[1, 5, "chat", "ms", b"\xc0"]], []]], [["a", "ms", pack({"k": [1, 2]})]], [], []]


def test_mutants_are_messagepack() -> None:
    data, chance = pack(FRAME), random.Random(1)
    made = [mutated(data, chance) for _ in range(500)]
    found = {one for one in made if one is not None}
    assert len(found) > 300
    for one in found:
        unpack(one)


def test_payloads_within_are_mutated_as_values() -> None:
    data, chance = pack([pack({"k": [1, 2]})]), random.Random(2)
    within = [unpack(made) for made in (mutated(data, chance) for _ in range(500)) if made is not None]
    payloads = [value[0] for value in within if isinstance(value, list) and value and isinstance(value[0], bytes)]
    assert any(payload[:2] == b"\x81\xa1" and payload != pack({"k": [1, 2]}) for payload in payloads)


def test_what_is_no_messagepack_is_left_to_the_fuzzer() -> None:
    assert mutated(b"\xc1", random.Random(1)) is None
