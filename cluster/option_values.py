"""Values of options as people write them: `250ms`, `64KiB`, `127.0.0.1:7946`, `QUORUM`.

Each function takes the text of one option and returns the value, or raises `ValueError` with half a
sentence that says what is wrong and what would be right; whoever calls adds the name of the option.
Nothing here knows which options exist.
"""

import enum
import ipaddress
import math
import re
from collections.abc import Callable
from typing import Final, TypeVar

__all__ = [
    "at_least",
    "between",
    "choice",
    "duration_ms",
    "duration_s",
    "host_fixed_port",
    "host_port",
    "is_wildcard",
    "name",
    "name_or_nothing",
    "number",
    "off_or",
    "one_of",
    "path",
    "port_of",
    "power_of_two",
    "size_bytes",
    "truth",
    "whole",
]

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)
N = TypeVar("N", int, float)

NAME_LENGTH_MAX: Final = 64
PORT_MAX: Final = 65_535

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_BYTES: Final = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]+)")
_NAME: Final = re.compile(r"[A-Za-z0-9._:-]+")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+")


def duration_s(text: str) -> float:
    """Seconds of a duration such as `250ms`, `2s`, `1.5m`, `3h` or `1d`."""
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _SECONDS:
        raise ValueError(f"{text!r} is no duration; write a number and ms, s, m, h or d, as in 2s")
    return float(match[1]) * _SECONDS[match[2]]


def duration_ms(text: str) -> int:
    """Whole milliseconds of a duration."""
    exact = duration_s(text) * 1000
    rounded = round(exact)
    if not math.isclose(exact, rounded, rel_tol=0, abs_tol=1e-6):
        raise ValueError(f"{text!r} is not a whole number of milliseconds")
    return rounded


def size_bytes(text: str) -> int:
    """Bytes of a size such as `512B`, `64KiB` or `1MiB`."""
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _BYTES:
        raise ValueError(f"{text!r} is no size; write a number and B, KiB, MiB or GiB, as in 64KiB")
    size = float(match[1]) * _BYTES[match[2]]
    if size != int(size):
        raise ValueError(f"{text!r} is not a whole number of bytes")
    return int(size)


def whole(text: str) -> int:
    """A whole number in plain digits."""
    if not re.fullmatch(r"[0-9]+", text):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no number")
    return value


def between(parse: Callable[[str], N], low: str, high: str) -> Callable[[str], N]:
    """`parse`, refusing what lies outside of the two bounds, which are written like the value."""

    def bounded(text: str) -> N:
        value = parse(text)
        if not parse(low) <= value <= parse(high):
            raise ValueError(f"{text!r} is out of range; {low} to {high} is allowed")
        return value

    return bounded


def at_least(parse: Callable[[str], N], low: str) -> Callable[[str], N]:
    """`parse`, refusing what lies below the bound."""

    def bounded(text: str) -> N:
        value = parse(text)
        if value < parse(low):
            raise ValueError(f"{text!r} is too small; {low} is the least")
        return value

    return bounded


def power_of_two(text: str) -> int:
    """A whole number that is a power of two."""
    value = whole(text)
    if value & (value - 1) or not value:
        raise ValueError(f"{text!r} is no power of two, such as 256, 1024 or 4096")
    return value


def one_of(*words: str) -> Callable[[str], str]:
    """One of a few words, exactly as written."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is none of {', '.join(words)}")
        return text

    return parse


def choice(kind: type[E]) -> Callable[[str], E]:
    """The member of an enumeration with that name, in upper or lower case."""

    def parse(text: str) -> E:
        for member in kind:
            if member.name == text.upper():
                return member
        raise ValueError(f"{text!r} is none of {', '.join(member.name for member in kind)}")

    return parse


def off_or(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """None for the word `off`, else `parse`."""

    def optional(text: str) -> T | None:
        return None if text == "off" else parse(text)

    return optional


def truth(text: str) -> bool:
    """The truth of `true` or `false`."""
    return one_of("true", "false")(text) == "true"


def name(text: str) -> str:
    """A name of 1 to 64 characters of `A-Z a-z 0-9 . _ : -`."""
    if not _NAME.fullmatch(text) or len(text) > NAME_LENGTH_MAX:
        raise ValueError(
            f"{text!r} is no name; 1 to {NAME_LENGTH_MAX} letters, digits, or . _ : - are allowed"
        )
    return text


def name_or_nothing(text: str) -> str:
    """A name as in `name`, or the empty text."""
    return name(text) if text else ""


def path(text: str) -> str:
    """A file path that is not empty."""
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is no file path")
    return text


def host_port(text: str) -> str:
    """An address `host:port`; IPv6 is written `[::1]:7946`. Port 0 is allowed here."""
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > PORT_MAX:
        raise ValueError(f"{text!r} is no address; write host:port, as in 127.0.0.1:7946")
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise ValueError(f"{text!r} has no IPv6 address in its brackets") from None
    elif ":" in host:
        raise ValueError(f"{text!r} is ambiguous; write IPv6 as [::1]:7946")
    elif not _HOST.fullmatch(host):
        raise ValueError(f"{text!r} has no host name; write host:port, as in 127.0.0.1:7946")
    return text


def host_fixed_port(text: str) -> str:
    """An address that others dial: like `host_port`, but port 0 means nothing to them."""
    if port_of(host_port(text)) == 0:
        raise ValueError(f"{text!r} has port 0, which nobody can dial")
    return text


def port_of(address: str) -> int:
    """The port of a checked address."""
    return int(address.rpartition(":")[2])


def host_of(address: str) -> str:
    """The host of a checked address, without the brackets of IPv6."""
    return address.rpartition(":")[0].removeprefix("[").removesuffix("]")


def is_wildcard(address: str) -> bool:
    """Whether a checked address binds every interface, so that it names no machine."""
    return host_of(address) in {"0.0.0.0", "::"}  # noqa: S104 - it is recognised here, not bound
