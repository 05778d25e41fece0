"""The only place that touches trio's private names: its scheduler's randomness.

trio shuffles each batch of runnable tasks, on purpose. With its generator seeded, and the batch
sorted before it is shuffled, a run is the same in every process. trio has no public way for this;
its own Hypothesis support sets the same two names.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Final

import trio._core._run as trio_run

_GENERATOR: Final = "_r"
_FLAG: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"


@contextlib.contextmanager
def seeded_scheduler(seed: int) -> Iterator[None]:
    """Make the order of tasks a function of the seed, for runs inside the block.

    Raises:
        RuntimeError: If trio has moved the names; nothing would be deterministic any more.
    """
    generator = getattr(trio_run, _GENERATOR, None)
    flag = getattr(trio_run, _FLAG, None)
    if not isinstance(generator, random.Random) or not isinstance(flag, bool):
        raise RuntimeError(  # noqa: TRY004  # nobody passed a wrong type: trio has changed
            f"trio has moved trio._core._run.{_GENERATOR} or .{_FLAG}: look for the shuffling of "
            "the batch of runnable tasks in its run loop and adapt this function"
        )
    state = generator.getstate()
    generator.seed(seed)
    setattr(trio_run, _FLAG, True)
    try:
        yield
    finally:
        generator.setstate(state)
        setattr(trio_run, _FLAG, flag)
