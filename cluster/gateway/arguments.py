"""The arguments of a control question, checked where they are taken.

They come from anywhere: numbers and texts over the wire, only texts from a URL. Every refusal is
one line that names topic and argument.
"""

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from cluster.core.values import CoreError, check_key
from cluster.errors import InvalidKey, InvalidValue

__all__ = ["Arguments"]

ARGUMENT_CHARS_MAX: Final = 8192
"""Longest text of one argument."""


@attrs.frozen
class Arguments:
    """The arguments of one question.

    Every method raises `InvalidValue` (for keys `InvalidKey`) for what it does not allow.
    """

    topic: str
    given: Mapping[str, Any]

    def allow(self, *names: str) -> None:
        """Refuse any argument that is not of these names."""
        for name in self.given:
            if name not in names:
                known = ", ".join(names) or "none"
                raise InvalidValue(f"{self.topic}: unknown argument {name!r:.80}; known: {known}")

    def has(self, *names: str) -> bool:
        """Whether one of these was given."""
        return any(name in self.given for name in names)

    def text(self, name: str) -> str:
        """A text; empty if it was not given."""
        value = self.given.get(name, "")
        if not isinstance(value, str) or len(value) > ARGUMENT_CHARS_MAX:
            raise InvalidValue(f"{self.topic}: {name} is text of up to {ARGUMENT_CHARS_MAX} chars")
        return value

    def raw(self, name: str) -> bytes:
        """Bytes: `name` as text, or `<name>_b64`."""
        encoded = f"{name}_b64"
        if not self.has(encoded):
            return self.text(name).encode(errors="surrogateescape")
        if self.has(name):
            raise InvalidValue(f"{self.topic}: give {name} or {encoded}, not both")
        try:
            return base64.b64decode(self.text(encoded), validate=True)
        except ValueError:
            raise InvalidValue(f"{self.topic}: {encoded} is no base64") from None

    def key(self) -> bytes:
        """The key of a record: `key`, or `key_b64`."""
        if not self.has("key", "key_b64"):
            raise InvalidKey(f"{self.topic}: needs key=")
        try:
            return check_key(self.raw("key"))
        except CoreError as error:
            raise InvalidKey(f"{self.topic}: {error}") from None

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds, written as a number or as text."""
        value = self.given.get(name, default)
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if type(number) is not int or not low <= number <= high:
            raise InvalidValue(f"{self.topic}: {name} is a number of {low} to {high}")
        return number

    def hexadecimal(self, name: str) -> int:
        """An id as traces print it."""
        text = self.text(name)
        if not re.fullmatch(r"(0x)?[0-9a-fA-F]{1,16}", text):
            raise InvalidValue(f"{self.topic}: {name} is a hexadecimal id of up to 16 digits")
        return int(text, 16)
