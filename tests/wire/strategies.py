"""Hypothesis strategies for every message of the protocol, made from the types of its fields."""

import enum
from typing import Any, get_args, get_origin

import attrs
from hypothesis import strategies as st

from cluster.core import operations as op
from cluster.wire.messages import DEADLINE_FIELD, MESSAGE_TYPES

U64 = st.integers(0, (1 << 64) - 1)
COLUMNS = {
    op.Write: ("keys", "bodies"),
    op.ReplicaWrite: ("keys", "records"),
    op.ReplicaRead: ("keys", "versions"),
    op.ReplicaReadReply: ("indices", "records"),
}
FREE = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.binary(max_size=9)
    | st.text(max_size=9) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["$b64", "$int", "$$", "a", ""]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
BY_TYPE = {
    int: U64,
    bytes: st.binary(max_size=40),
    str: st.text(max_size=20),
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    Any: FREE,
    type(None): st.none(),
}


def values(kind):
    if kind in BY_TYPE:
        return BY_TYPE[kind]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    if attrs.has(kind):
        return objects(kind)
    arguments = get_args(kind)
    if get_origin(kind) is list:
        return st.lists(values(arguments[0]), max_size=4)
    if get_origin(kind) is tuple:
        return st.tuples(*map(values, arguments))
    if get_origin(kind) is dict:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=4)
    return st.one_of(*map(values, arguments))


@st.composite
def objects(draw, kind):
    fields = {}
    for field in attrs.fields(kind):
        strategy = values(field.type)
        if field.name == DEADLINE_FIELD:  # whole milliseconds survive exactly
            strategy = st.integers(0, 100_000_000).map(lambda ms: float(ms // 1000))
        fields[field.name] = draw(strategy)
    if kind in COLUMNS:
        first, second = COLUMNS[kind]
        item = get_args(attrs.fields_dict(kind)[second].type)[0]
        size = len(fields[first])
        fields[second] = draw(st.lists(values(item), min_size=size, max_size=size))
        if kind is op.ReplicaRead and draw(st.booleans()):
            fields[second] = []
    return kind(**fields)


MESSAGES = st.one_of([objects(kind) for kind in MESSAGE_TYPES.values()])
