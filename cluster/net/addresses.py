"""`host:port` text and its parts; IPv6 hosts stand in brackets, as in `[::1]:7946`."""

import re
from typing import Final

PORT_MAX: Final = 65_535
HOST_CHARS_MAX: Final = 253

_BRACKETED: Final = re.compile(r"\[([0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\]:([0-9]{1,5})")
_PLAIN: Final = re.compile(r"([A-Za-z0-9._-]+):([0-9]{1,5})")


def parse_address(text: str) -> tuple[str, int]:
    """Splits `host:port` or `[ipv6]:port`; the brackets are taken off.

    Raises:
        ValueError: it is neither, or the port is above 65535.
    """
    match = _BRACKETED.fullmatch(text) or _PLAIN.fullmatch(text)
    if match is None or len(match[1]) > HOST_CHARS_MAX:
        raise ValueError(f"an address is host:port or [ipv6]:port, not {text!r:.300}")
    port = int(match[2])
    if port > PORT_MAX:
        raise ValueError(f"a port is 0 to {PORT_MAX}, not {port}")
    return match[1], port


def format_address(host: str, port: int) -> str:
    """Joins host and port; the inverse of `parse_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
