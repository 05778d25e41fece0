"""The test kit: virtual time from a seed, a harness without trio, probes, a stuck detector.

* `run_virtual` and `@virtual`: a whole world under virtual time, the same from the same seed.
* `Harness`: one behaviour, step by step, without trio.
* `Probe`: an actor that keeps what it gets, for tests of others.
* `running`: a system for the length of a block.
* `StuckDetector`: for tests on other clocks, cancels once nothing can happen any more.
"""

from actors.testing._fake_context import FakeRef, FakeReply, HarnessError, Told
from actors.testing._harness import Harness
from actors.testing._probe import Probe, running
from actors.testing._scheduler import seeded_scheduler
from actors.testing._stuck import StuckDetector, describe_tasks
from actors.testing._virtual import (
    Deadlock,
    HorizonPassed,
    Spinning,
    TimerHandle,
    VirtualClock,
    run_virtual,
    virtual,
)

__all__ = [
    "Deadlock",
    "FakeRef",
    "FakeReply",
    "Harness",
    "HarnessError",
    "HorizonPassed",
    "Probe",
    "Spinning",
    "StuckDetector",
    "TimerHandle",
    "Told",
    "VirtualClock",
    "describe_tasks",
    "run_virtual",
    "running",
    "seeded_scheduler",
    "virtual",
]
