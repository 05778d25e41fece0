"""The control protocol: questions about a node, and orders to it, as messages.

One request names a topic (`status`, `ring`, `stats`, ...) and carries a flat mapping of arguments;
one reply carries a JSON-like body, the same that the HTTP face shows. The command line, the HTTP
face and simulated worlds are faces on this one protocol. Which topics exist, and what they answer,
is the business of the node's control face, not of the wire.
"""

from typing import Any

import attrs


@attrs.frozen
class ControlRequest:
    """A question or an order.

    Attributes:
        request_id: chosen by the asker, unique on its connection.
        deadline: seconds on the local clock; travels as remaining budget.
        topic: what is asked.
        arguments: by name; plain scalars only.
    """

    request_id: int
    deadline: float
    topic: str
    arguments: dict[str, str | int | float | bool]


@attrs.frozen
class ControlReply:
    """The answer: None, bool, int, float, str, bytes; lists and `str`-keyed mappings of these."""

    request_id: int
    body: Any
