"""The error tree is the one its docstring draws."""

import re

import pytest

from mmplatform import errors
from mmplatform.errors import MMError, ProtocolError

TREE = {name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, MMError)}
DRAWN = re.findall(r"^    ((?:[│ ] {3})*(?:[├└]── )?)(\w+)", (errors.__doc__ or "").replace("::\n\n", ""), re.MULTILINE)


def test_the_drawing_is_the_tree() -> None:
    parents: list[str] = []
    drawn = {}
    for bars, name in DRAWN:
        depth = len(bars) // 4
        parents[depth:] = [name]
        drawn[name] = parents[depth - 1] if depth else "Exception"
    assert drawn == {name: kind.__mro__[1].__name__ for name, kind in TREE.items()}


@pytest.mark.parametrize("name", sorted(TREE))
def test_every_error_can_be_caught_as_one_of_four_kinds(name: str) -> None:
    kind = TREE[name]
    if kind is not MMError:
        kinds = (errors.LocalError, errors.RemoteError, errors.DeliveryError, errors.PluginError)
        assert sum(issubclass(kind, each) for each in kinds) == 1
    assert kind.__doc__


def test_errors_are_what_python_calls_them_too() -> None:
    assert issubclass(errors.RequestTimeout, TimeoutError)
    for kind in (errors.InvalidTopic, errors.InvalidKey, errors.InvalidPayload, errors.InvalidRecord):
        assert issubclass(kind, ValueError)


def test_a_protocol_error_has_a_word_and_a_text() -> None:
    assert str(ProtocolError("bad-packet")) == "bad-packet"
    error = ProtocolError("bad-packet", "7 bytes")
    assert (error.reason, str(error)) == ("bad-packet", "bad-packet: 7 bytes")
