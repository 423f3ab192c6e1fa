"""What a payload is to be: dataclasses, Structs, models and all else that a handler may take instead of plain values.

A type is looked at once, when somebody asks for it (:func:`payload_type`). Payloads that do not fit are the words of
others: why they do not is said with names of the type, never with a value or a key of the payload.
"""

from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, Generic, NewType, TypeVar, get_origin

import msgspec
from msgspec import inspect

from mmplatform.codec import is_model
from mmplatform.errors import Refused
from mmplatform.text import escaped

T = TypeVar("T")

LONGEST_REASON: Final = 200  # characters
MANY: Final = 100  # things that are wrong with a model
NATIVE: Final = (bytes, bytearray)  # MessagePack has bytes: text is not taken for them
OWN_CHECK: Final = "the check of its type failed"
# Words of msgspec behind which it says what the payload has.
_QUOTING: Final = ("Invalid enum value", "Invalid value", "Object contains unknown field")


class Unfit(Refused):
    """A payload is not of the type that a handler takes; ``detail`` says where, and what was expected."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"bad-payload: {detail}")
        self.detail = detail


class PayloadType(Generic[T]):
    """Makes values of one type of plain ones.

    Args:
        wanted: a dataclass, a Struct, a model of pydantic, a TypedDict, a NamedTuple, or what those consist of.

    Raises TypeError for what no payload can be.

    """

    def __init__(self, wanted: Any) -> None:
        self.name = getattr(wanted, "__name__", str(wanted))
        if isinstance(wanted, str):
            raise TypeError(f"{wanted!r} is the name of a type; the type itself is needed")
        try:
            _check(inspect.type_info(wanted), set())
            self._holder: Any = msgspec.defstruct("Holder", [("payload", wanted)])  # compiled once; names the place
            msgspec.msgpack.Decoder(self._holder)
        except NameError as error:
            raise TypeError(f"{self.name}: {error}; a type names only what its module has") from None

    def restore(self, value: object) -> T:
        """Return ``value``, of plain ones, as the type says. Raises Unfit, and Refused when a check of the type did."""
        try:
            return self._holder_of(value).payload  # type: ignore[no-any-return]
        except Refused:
            raise  # the words of the program, meant for the sender
        except msgspec.ValidationError as error:
            raise Unfit(_reason(error)) from None
        except Exception:
            raise Unfit(f"payload: {OWN_CHECK}") from None

    def _holder_of(self, value: object) -> Any:
        return msgspec.convert({"payload": value}, self._holder, builtin_types=NATIVE, dec_hook=_model)


def payload_type(wanted: type[T]) -> PayloadType[T]:
    """Return what makes values of the type ``wanted``. Raises TypeError for what no payload can be."""
    try:
        return _compiled(wanted)  # type: ignore[arg-type]
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        return PayloadType(wanted)


def is_payload_type(value: object) -> bool:
    """Whether ``value`` is a type, and no function that handles payloads: a class, or what ``typing`` makes of some."""
    return isinstance(value, type | NewType) or get_origin(value) is not None or value is Any


@lru_cache(maxsize=256)
def _compiled(wanted: Any) -> PayloadType[Any]:
    return PayloadType(wanted)


def _check(found: object, seen: set[int]) -> None:
    """Raise TypeError when a part of a type is a class that no payload can become."""
    if id(found) in seen:
        return
    seen.add(id(found))
    if isinstance(found, inspect.CustomType) and not (is_model(found.cls) or found.cls is object):
        raise TypeError(f"{found.cls!r} is no type of payloads: make it a dataclass, or a model of pydantic")
    if isinstance(found, inspect.DataclassType) and hasattr(found.cls, "__pydantic_validator__"):
        raise TypeError(f"{found.cls!r} is a dataclass of pydantic, whose checks would not run: make it a BaseModel")
    if isinstance(found, inspect.Type | inspect.Field):
        found = tuple(getattr(found, name) for name in found.__struct_fields__)
    if isinstance(found, tuple):
        for part in found:
            _check(part, seen)


def _model(wanted: Any, value: object) -> object:
    """Make a model of pydantic. Raises ValueError, which says where it does not fit."""
    if wanted is object:
        return value
    try:
        return wanted.model_validate(value)
    except ValueError as error:
        raise _NoModel(wanted, value, _said(error)) from None


def _said(error: Any) -> dict[str, Any]:
    """Return the first thing that pydantic said; where it said very much, making all of that would take too long."""
    if not hasattr(error, "errors") or error.error_count() > MANY:
        return {"type": "value_error", "loc": ()}
    first: dict[str, Any] = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return first


class _NoModel(ValueError):
    """What pydantic said of ``value``, without the keys that it has: fields and places in lists are named."""

    def __init__(self, wanted: Any, value: Any, said: dict[str, Any]) -> None:
        super().__init__(said["type"])
        self.place = ""
        for step in said["loc"] if said["type"] != "extra_forbidden" else said["loc"][:-1]:
            if isinstance(value, list):
                self.place += f"[{step}]"
            else:
                self.place += f".{step}" if step in _names(wanted) else "[...]"
            with suppress(LookupError, TypeError):
                value = value[step]


@lru_cache(maxsize=256)
def _names(model: Any) -> frozenset[str]:
    """Return the names of the fields of ``model`` and of the models in it."""
    names: set[str] = set()
    waiting, seen = [model], {model}
    while waiting:
        for name, one in waiting.pop().model_fields.items():
            names |= {name, one.alias or name}
            for inner in _models_in(one.annotation):
                if inner not in seen:
                    seen.add(inner)
                    waiting.append(inner)
    return frozenset(names)


def _models_in(annotation: Any) -> list[Any]:
    if is_model(annotation):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_in(inner)]


def _reason(error: msgspec.ValidationError) -> str:
    what, _, place = str(error).rpartition(" - at ")
    place = place.replace("`", "").replace("$.payload", "payload")
    if isinstance(error.__cause__, _NoModel):
        what, place = str(error.__cause__), f"{place}{error.__cause__.place}"
    elif error.__cause__ is not None:
        what = OWN_CHECK
    else:
        what = next((known for known in _QUOTING if what.startswith(known)), what)
    return escaped(f"{place}: {what}", LONGEST_REASON)
