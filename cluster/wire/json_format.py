"""Plain values as JSON: for looking at the wire with ordinary tools, not for speed.

JSON has neither bytes nor safe integers above 2^53. They travel as `{"$b64": "..."}` and
`{"$int": "..."}`; a key of a mapping that begins with `$` gets one more `$` in front.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from cluster.errors import ProtocolError
from cluster.wire.limits import FrameLimits

FIRST_BYTES: Final = b"["
_SAFE_INT: Final = 1 << 53
_INT_CHARS_MAX: Final = 20
_BYTES_KEY: Final = "$b64"
_INT_KEY: Final = "$int"
_MARK: Final = "$"


class JsonFormat:
    """Writes rows and frames as JSON."""

    name: Final = "json"
    separator_bytes: Final = 1
    overhead_bytes: Final = 128
    """Most that a frame is longer than its messages and the commas between them."""

    def __init__(self, limits: FrameLimits) -> None:
        self._list_max = max(limits.keys_max, limits.messages_max)

    def dumps(self, row: list[Any]) -> bytes:
        """Writes one row.

        Raises:
            TypeError, ValueError: the row holds what JSON cannot carry.
        """
        text = json.dumps(_to_json(row), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()

    def assemble(self, head: tuple[int, ...], rows: Sequence[bytes]) -> bytes:
        """Joins written rows into a frame."""
        fields = self.dumps(list(head))[:-1]
        return fields + b",[" + b",".join(rows) + b"]]"

    def loads(self, frame: bytes) -> Any:
        """Reads a frame.

        Raises:
            ProtocolError: it is no JSON, nested too deep, or has a list over the limit.
        """
        try:
            text = frame.decode()
            content = json.loads(text, parse_constant=_refuse_constant, parse_int=_read_int)
            return self._from_json(content)
        except RecursionError:
            raise ProtocolError("the frame is nested too deep") from None
        except ValueError as error:
            raise ProtocolError(f"the frame is no JSON: {error}") from None

    def _from_json(self, value: Any) -> Any:
        if type(value) is list:
            if len(value) > self._list_max:
                raise ProtocolError(f"a list of {len(value)} items, at most {self._list_max}")
            return [self._from_json(item) for item in value]
        if type(value) is not dict:
            return value
        if len(value) == 1:
            ((key, item),) = value.items()
            if key == _BYTES_KEY and type(item) is str:
                return _read_bytes(item)
            if key == _INT_KEY and type(item) is str:
                return _read_int(item)
        return {_read_key(key): self._from_json(item) for key, item in value.items()}


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {_BYTES_KEY: base64.b64encode(value).decode("ascii")}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, dict):
        return {
            _MARK + key if key.startswith(_MARK) else key: _to_json(item)
            for key, item in value.items()
        }
    if isinstance(value, int) and not -_SAFE_INT < value < _SAFE_INT:
        return {_INT_KEY: str(value)}
    return value


def _read_key(key: str) -> str:
    return key[1:] if key.startswith(_MARK) else key


def _read_bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ProtocolError(f"bytes are no base64: {error}") from None


def _read_int(text: str) -> int:
    if len(text) > _INT_CHARS_MAX:
        raise ProtocolError(f"an integer of {len(text)} digits")
    return int(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ProtocolError(f"{name} is no JSON")
