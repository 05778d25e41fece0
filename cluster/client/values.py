"""Keys, values and times as callers give them, to what crosses the wire and back.

A body is one flags byte that names the encoding, then the value: `bytes` and `str` as they are,
everything else by msgpack or by a serializer that the caller plugs in. Nothing is pickled. Encoding
is strict: what would come back as something else (a tuple as a list, a subclass as its base) is
refused where it is written, not discovered where it is read.

Limits of a node (`--value-max`) are not checked here; the client core knows them once it is
connected.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import msgpack

from cluster.core import record
from cluster.core.values import KEY_BYTES_MAX, Level
from cluster.errors import InvalidKey, InvalidValue

__all__ = [
    "TIMEOUT_S_MAX",
    "TTL_S_MAX",
    "Key",
    "Serializer",
    "ValueCodec",
    "check_level",
    "check_timeout",
    "encode_key",
    "encode_keys",
    "ttl_to_ms",
]

Key = str | bytes
"""A `str` is its UTF-8 bytes: "a" and b"a" are one key."""

TTL_S_MAX: Final = 100 * 365 * 86_400
"""Longest time to live in seconds: a hundred years."""
TIMEOUT_S_MAX: Final = 86_400.0
"""Longest time a caller may wait for one operation, in seconds: a day."""

_MS: Final = 1000
_BYTES: Final = bytes((record.BYTES,))
_STR: Final = bytes((record.STR,))
_MSGPACK: Final = bytes((record.MSGPACK,))
_CUSTOM: Final = bytes((record.CUSTOM,))
_ONLY_BYTES: Final = frozenset((bytes,))
_ONLY_STR: Final = frozenset((str,))
_SHOWN_CHARS: Final = 80


class Serializer(Protocol):
    """Turns values that are neither `bytes` nor `str` into bytes and back, in place of msgpack."""

    def dumps(self, value: Any) -> bytes:
        """Encode a value; whatever it raises reaches the caller as `InvalidValue`."""

    def loads(self, data: bytes) -> Any:
        """Decode what `dumps` made."""


def encode_key(key: Key) -> bytes:
    """The bytes of a key.

    Raises:
        InvalidKey: it is neither `str` nor `bytes`, or has not 1 to 1,024 bytes.
    """
    if type(key) is str:
        try:
            data = key.encode()
        except UnicodeEncodeError:
            raise InvalidKey(f"the key {key!r:.{_SHOWN_CHARS}} has no UTF-8 form") from None
    elif type(key) is bytes:
        data = key
    elif isinstance(key, str | bytes):
        return encode_key(str(key) if isinstance(key, str) else bytes(key))
    else:
        raise InvalidKey(f"a key is str or bytes, not {type(key).__name__}")
    if 0 < len(data) <= KEY_BYTES_MAX:
        return data
    raise InvalidKey(f"a key has 1 to {KEY_BYTES_MAX} bytes, not {len(data)}")


def encode_keys(keys: Iterable[Key]) -> list[bytes]:
    """The bytes of every key, in order.

    Raises:
        InvalidKey: one of them is no key, or `keys` is a single key.
    """
    if isinstance(keys, str | bytes):
        raise InvalidKey("a batch takes several keys: put a single one into a list")
    keys = list(keys)
    if set(map(type, keys)) == _ONLY_STR:
        try:
            encoded = list(map(str.encode, keys))  # type: ignore[arg-type]  # seen: all are str
        except UnicodeEncodeError:
            encoded = []
        lengths = set(map(len, encoded))
        if lengths and min(lengths) > 0 and max(lengths) <= KEY_BYTES_MAX:
            return encoded
    return [encode_key(key) for key in keys]  # the rest, or what has to be refused by name


def ttl_to_ms(ttl: float | None) -> int:
    """Whole milliseconds of a time to live in seconds; 0 for None, which means: no expiry.

    Raises:
        InvalidValue: it is no number above 0 and at most `TTL_S_MAX`.
    """
    if ttl is None:
        return 0
    if type(ttl) not in (int, float) or not 0 < ttl <= TTL_S_MAX:
        raise InvalidValue(f"a ttl is seconds above 0 up to {TTL_S_MAX}, or None, not {ttl!r}")
    return max(1, round(ttl * _MS))


def check_timeout(timeout: float) -> float:
    """Returns a timeout in seconds that can be waited for.

    Raises:
        InvalidValue: it is no finite number above 0.
    """
    if type(timeout) not in (int, float) or not 0 < timeout <= TIMEOUT_S_MAX:
        raise InvalidValue(f"a timeout is seconds above 0 up to {TIMEOUT_S_MAX}, not {timeout!r}")
    return timeout


def check_level(level: Level) -> Level:
    """Returns a consistency level.

    Raises:
        InvalidValue: it is not a member of `Consistency`.
    """
    if type(level) is not Level:
        raise InvalidValue(f"consistency is one of Consistency.ONE, QUORUM, ALL, not {level!r}")
    return level


class ValueCodec:
    """Values to bodies and records to values, with the serializer of one cache."""

    __slots__ = ("_pack", "_serializer")

    def __init__(self, serializer: Serializer | None = None) -> None:
        self._serializer = serializer
        self._pack = _packer()

    def encode(self, value: Any) -> bytes:
        """The body of a value.

        Raises:
            InvalidValue: it cannot be encoded such that it comes back the same.
        """
        try:
            if type(value) is bytes:
                return _BYTES + value
            if type(value) is str:
                return _STR + value.encode()
            if self._serializer is not None:
                return _CUSTOM + self._serializer.dumps(value)
            return _MSGPACK + self._pack(value)
        except Exception as error:
            self._pack = _packer()  # what it had packed so far is still in the old one
            raise InvalidValue(_cannot_encode(value, error)) from error

    def encode_all(self, values: Iterable[Any]) -> list[bytes]:
        """The bodies of values, in order.

        Raises:
            InvalidValue: one of them cannot be encoded.
        """
        values = list(values)
        if set(map(type, values)) == _ONLY_BYTES:
            return [_BYTES + value for value in values]
        encode = self.encode
        return [encode(value) for value in values]

    def decode(self, data: bytes) -> Any:
        """The value of a record that holds one.

        Raises:
            InvalidValue: the bytes are not what the encoding promises, or need a serializer.
        """
        if data[record.FLAGS_AT] == record.BYTES:
            return data[record.HEADER_BYTES :]
        encoding = record.flags_of(data) & record.ENCODING_MASK
        value = record.value_of(data)
        try:
            if encoding == record.BYTES:
                return value
            if encoding == record.STR:
                return value.decode()
            if encoding == record.MSGPACK:
                return msgpack.unpackb(value, strict_map_key=False)
            if self._serializer is not None:
                return self._serializer.loads(value)
        except Exception as error:
            raise InvalidValue(f"a stored value cannot be decoded: {error}") from error
        raise InvalidValue("the value was stored with a serializer: connect with the same one")


def has_value(data: bytes | None) -> bool:
    """Whether a record of a reply holds a value: not absent, deleted or expired."""
    return data is not None and bool(data[record.FLAGS_AT] & record.ENCODING_MASK)


def expires_at(data: bytes) -> float | None:
    """Seconds since the epoch at which the record expires; None: never."""
    expiry_ms = record.expiry_of(data)
    return expiry_ms / _MS if expiry_ms else None


def _packer() -> Callable[[Any], bytes]:
    pack: Callable[[Any], bytes] = msgpack.Packer(strict_types=True, autoreset=True).pack
    return pack


def _cannot_encode(value: Any, error: Exception) -> str:
    hint = " (a tuple would come back as a list: store a list)" if "tuple" in str(error) else ""
    return (
        f"a value of type {type(value).__name__} cannot be stored: {error}{hint}; store bytes, str "
        "or what msgpack carries (None, bool, int, float, str, bytes, list, dict), "
        "or plug in a serializer"
    )
