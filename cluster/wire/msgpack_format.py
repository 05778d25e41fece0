"""Plain values as msgpack: the default format.

msgpack builds a list of the announced length before it has read the items, and a thousand lists may
be announced inside each other: a frame of a few KB could ask for GBs. So a frame is first skimmed
without building anything, which proves that every announced item is there; then it is decoded.
The skim costs a quarter of the decoding.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgpack

from cluster.errors import ProtocolError
from cluster.wire.limits import FrameLimits

_FIELDS: Final = 5
_FIXARRAY: Final = 0x90
_ARRAY16: Final = 0xDC
FIRST_BYTES: Final = bytes(range(_FIXARRAY, _FIXARRAY + 16)) + bytes((_ARRAY16, _ARRAY16 + 1))
"""A frame is an array, so it begins with one of these."""


class MsgpackFormat:
    """Packs rows and frames with one reused packer: making one costs more than most rows."""

    name: Final = "msgpack"
    separator_bytes: Final = 0
    overhead_bytes: Final = 1 + 4 * 9 + 5
    """Most that a frame is longer than its messages: array head, header, head of the list."""

    def __init__(self, limits: FrameLimits) -> None:
        self._list_max = max(limits.keys_max, limits.messages_max)
        self._buffer_max = limits.frame_bytes_max
        self._packer = msgpack.Packer()

    def dumps(self, row: list[Any]) -> bytes:
        """Packs one row.

        Raises:
            TypeError, ValueError, OverflowError: the row holds what msgpack cannot carry.
        """
        return self._packer.pack(row)

    def assemble(self, head: tuple[int, ...], rows: Sequence[bytes]) -> bytes:
        """Joins packed rows into a frame."""
        pack = self._packer.pack
        fields = [bytes((_FIXARRAY + _FIELDS,)), *map(pack, head)]
        fields.append(self._packer.pack_array_header(len(rows)))
        return b"".join([*fields, *rows])

    def loads(self, frame: bytes) -> Any:
        """Unpacks a frame.

        Raises:
            ProtocolError: it is no msgpack, incomplete, too deep, or has a list over the limit.
        """
        skimmer = msgpack.Unpacker(max_buffer_size=self._buffer_max, strict_map_key=True)
        try:
            skimmer.feed(frame)
            skimmer.skip()
            if skimmer.tell() != len(frame):
                raise ProtocolError(f"{len(frame) - skimmer.tell()} bytes after the frame")
            return msgpack.unpackb(
                frame, strict_map_key=True, max_array_len=self._list_max, max_map_len=self._list_max
            )
        except msgpack.OutOfData:
            raise ProtocolError("the frame ends early") from None
        except msgpack.StackError:
            raise ProtocolError("the frame is nested too deep") from None
        except (ValueError, msgpack.UnpackException) as error:
            raise ProtocolError(f"the frame is no msgpack: {error}") from None
