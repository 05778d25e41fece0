"""The same seed, the same run, byte for byte, whatever the process; another seed, another run."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TRACE_BYTES_MIN = 300_000


def runs(*seeds_and_hash_seeds):
    """Digest and size of each run, all at the same time, each in a process of its own."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.history", str(seed)],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": str(hash_seed)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed, hash_seed in seeds_and_hash_seeds
    ]
    outputs = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return outputs


def test_equal_seeds_give_equal_traces_in_two_processes_and_other_seeds_do_not():
    first, second, other = runs((11, 1), (11, 2), (12, 1))
    assert int(first[1]) > TRACE_BYTES_MIN
    assert first == second, "python -m tests.cluster.history 11 --keep FILE shows the difference"
    assert other[0] != first[0]
