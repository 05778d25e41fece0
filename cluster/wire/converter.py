"""The strict converter: rows of plain values to messages and back, without any coercion.

A message is a row `[tag, field, ...]` of plain values, a class inside a message a row
`[field, ...]`. The type of each value must be exactly that of its field: an int is no bool, no
float and no length of bytes, a str is no list. cattrs by itself coerces (an int for a `bytes` field
allocates that many zero bytes), hence a hook for every kind of type that messages use.

Unknown fields at the end of a row are ignored, missing ones are allowed only where they have a
default: a newer and an older release understand each other. Messages of the hot path get
hand-written hooks in `hot_messages`; the hooks here are the reference they agree with.

Deadlines are ordinary floats here; their change into budgets is the codec's.
"""

import enum
import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias, get_args, get_origin

import attrs
import cattrs

from cluster.core import operations as op
from cluster.wire.messages import MESSAGE_TYPES, TAGS

U64_MAX: Final = (1 << 64) - 1
JSON_DEPTH_MAX: Final = 16
"""Nesting allowed inside fields of free form (ring views, bodies of control replies)."""

StructureHook: TypeAlias = Callable[[Any, Any], Any]
UnstructureHook: TypeAlias = Callable[[Any], list[Any]]


class FieldError(ValueError):
    """A value does not fit its field. The text is the path to it and the reason."""


def make_converter() -> cattrs.Converter:
    """Builds the converter for all messages, without the fast hooks."""
    converter = cattrs.Converter(detailed_validation=False)
    for kind in (bytes, str, bool):
        converter.register_structure_hook(kind, _exact(kind))
    converter.register_structure_hook(int, _structure_int)
    converter.register_structure_hook(float, _structure_float)
    converter.register_structure_hook(enum.IntEnum, _structure_enum)
    converter.register_unstructure_hook(float, float)
    converter.register_structure_hook_func(lambda kind: kind is Any, _structure_free)
    converter.register_structure_hook_factory(_has_origin(list), lambda t: _list_hook(converter, t))
    converter.register_structure_hook_factory(
        _has_origin(tuple), lambda t: _tuple_hook(converter, t)
    )
    converter.register_structure_hook_factory(_has_origin(dict), lambda _: _structure_scalars)
    converter.register_structure_hook_factory(attrs.has, lambda t: row_hook(converter, t))
    converter.register_unstructure_hook_factory(attrs.has, lambda t: unrow_hook(converter, t))
    for message_type in MESSAGE_TYPES.values():
        converter.get_structure_hook(message_type)
        converter.get_unstructure_hook(message_type)
    return converter


# --------------------------------------------------------------------------- rows


def row_hook(converter: cattrs.Converter, message_type: type[Any]) -> StructureHook:
    """Makes the hook that reads a row of any length into `message_type`."""
    start = 1 if message_type in TAGS else 0
    fields = attrs.fields(message_type)
    hooks = [(field, converter.get_structure_hook(field.type)) for field in fields]
    needed = start + sum(field.default is attrs.NOTHING for field in fields)
    relation = RELATIONS.get(message_type)

    def structure(row: Any, _: Any) -> Any:
        if type(row) is not list:
            raise FieldError(f"{type(row).__name__}, expected a list of fields")
        if len(row) < needed:
            missing = fields[max(0, len(row) - start)].name
            raise FieldError(f"{missing}: missing")
        values = []
        for (field, hook), value in zip(hooks, row[start:], strict=False):
            try:
                values.append(hook(value, field.type))
            except FieldError as error:
                raise FieldError(f"{field.name}: {error}") from None
        message = message_type(*values)
        if relation is not None:
            relation(message)
        return message

    return structure


def unrow_hook(converter: cattrs.Converter, message_type: type[Any]) -> UnstructureHook:
    """Makes the hook that writes a message as a row."""
    head = [TAGS[message_type]] if message_type in TAGS else []
    fields = [
        (field.name, converter.get_unstructure_hook(field.type))
        for field in attrs.fields(message_type)
    ]

    def unstructure(message: Any) -> list[Any]:
        return head + [hook(getattr(message, name)) for name, hook in fields]

    return unstructure


# --------------------------------------------------------------------------- values


def _exact(kind: type[Any]) -> StructureHook:
    def structure(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise _unexpected(value, kind.__name__)
        return value

    return structure


def _structure_int(value: Any, _: Any) -> int:
    if type(value) is not int:
        raise _unexpected(value, "int")
    if not 0 <= value <= U64_MAX:
        raise FieldError("out of range, expected 0 to 2^64 - 1")
    return value


def _structure_float(value: Any, _: Any) -> float:
    if type(value) is not float:
        raise _unexpected(value, "float")
    if not math.isfinite(value):
        raise FieldError(f"{value} is no finite number")
    return value


def _structure_enum(value: Any, kind: type[enum.IntEnum]) -> enum.IntEnum:
    if type(value) is not int:
        raise _unexpected(value, "int")
    try:
        return kind(value)
    except ValueError:
        raise FieldError(f"{value} is no {kind.__name__}") from None


def _list_hook(converter: cattrs.Converter, kind: Any) -> StructureHook:
    (item_kind,) = get_args(kind)
    hook = converter.get_structure_hook(item_kind)

    def structure(value: Any, _: Any) -> list[Any]:
        if type(value) is not list:
            raise _unexpected(value, "list")
        return [_item(hook, item_kind, at, item) for at, item in enumerate(value)]

    return structure


def _tuple_hook(converter: cattrs.Converter, kind: Any) -> StructureHook:
    kinds = get_args(kind)
    hooks = [converter.get_structure_hook(item_kind) for item_kind in kinds]

    def structure(value: Any, _: Any) -> tuple[Any, ...]:
        if type(value) is not list or len(value) != len(kinds):
            raise _unexpected(value, f"list of {len(kinds)}")
        return tuple(_item(hooks[at], kinds[at], at, item) for at, item in enumerate(value))

    return structure


def _item(hook: StructureHook, kind: Any, at: int, item: Any) -> Any:
    try:
        return hook(item, kind)
    except FieldError as error:
        raise FieldError(f"item {at}: {error}") from None


def _structure_scalars(value: Any, _: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise _unexpected(value, "mapping")
    for key, item in value.items():
        if type(key) is not str:
            raise _unexpected(key, "str as key")
        if type(item) not in (str, int, float, bool):
            raise FieldError(f"{key:.80}: {_unexpected(item, 'str, int, float or bool')}")
    return value


def _structure_free(value: Any, _: Any) -> Any:
    _check_free(value, 0)
    return value


def _check_free(value: Any, depth: int) -> None:
    if depth > JSON_DEPTH_MAX:
        raise FieldError(f"nested deeper than {JSON_DEPTH_MAX}")
    if type(value) is list:
        for item in value:
            _check_free(item, depth + 1)
    elif type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise _unexpected(key, "str as key")
            _check_free(item, depth + 1)
    elif type(value) is float:
        _structure_float(value, float)
    elif value is not None and type(value) not in (str, bytes, int, bool):
        raise _unexpected(value, "a plain value")


def _unexpected(value: Any, expected: str) -> FieldError:
    size = f" of {len(value)}" if type(value) in (list, bytes, str, dict) else ""
    return FieldError(f"{type(value).__name__}{size}, expected {expected}")


def _has_origin(origin: type[Any]) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) is origin


# --------------------------------------------------------------------------- relations


def _same_length(first: str, second: str) -> Callable[[Any], None]:
    def relation(message: Any) -> None:
        lengths = len(getattr(message, first)), len(getattr(message, second))
        if lengths[0] != lengths[1]:
            raise FieldError(f"{second}: {lengths[1]} items for {lengths[0]} {first}")

    return relation


def _versions_for_all_or_none(message: op.ReplicaRead) -> None:
    if message.versions:
        _same_length("keys", "versions")(message)


RELATIONS: Final[dict[type[Any], Callable[[Any], None]]] = {
    op.Write: _same_length("keys", "bodies"),
    op.ReplicaWrite: _same_length("keys", "records"),
    op.ReplicaRead: _versions_for_all_or_none,
    op.ReplicaReadReply: _same_length("indices", "records"),
}
"""What must hold between the fields of a message."""
