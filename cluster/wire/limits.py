"""What a frame may hold at most; the reader's protection and the writer's rule."""

import attrs


@attrs.frozen(kw_only=True)
class FrameLimits:
    """Limits of one frame.

    Attributes:
        frame_bytes_max: size of the encoded frame.
        messages_max: messages in it.
        keys_max: items of any list inside a message.
    """

    frame_bytes_max: int = 4 * 1024 * 1024
    messages_max: int = 10_000
    keys_max: int = 100_000
