import os
import subprocess
import sys
import time

import pytest

from cluster.bench.accounting import (
    AccountingError,
    cpu_seconds,
    own_cpu_seconds,
    resident_bytes,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the accounting needs Linux")


def test_the_clock_of_a_process_is_its_cpu_time():
    before = time.process_time()
    seen = cpu_seconds([os.getpid()])
    assert before <= seen <= time.process_time()


def test_processes_add_up():
    one = cpu_seconds([os.getpid()])
    assert cpu_seconds([os.getpid(), os.getpid()]) >= 2 * one


def test_work_is_accounted_for():
    mine, seen = own_cpu_seconds(), cpu_seconds([os.getpid()])
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert own_cpu_seconds() - mine >= 0.03
    assert cpu_seconds([os.getpid()]) - seen >= 0.05


def test_another_process_is_seen():
    burn = "import time\nwhile time.process_time() < 0.2: pass\ninput()"
    with subprocess.Popen(
        [sys.executable, "-I", "-c", f"print(1, flush=True)\n{burn}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        child.stdout.read(1)
        while cpu_seconds([child.pid]) < 0.2:
            pass
        assert resident_bytes(child.pid) > 1_000_000
        child.communicate(b"\n")


def gone():
    child = subprocess.Popen([sys.executable, "-I", "-c", ""])
    child.wait()
    return child.pid


def test_a_process_that_is_gone_is_named():
    pid = gone()
    with pytest.raises(AccountingError, match=str(pid)):
        cpu_seconds([pid])
    with pytest.raises(AccountingError, match=str(pid)):
        resident_bytes(pid)


def test_resident_memory_grows_with_what_is_written():
    before = resident_bytes(os.getpid())
    block = bytearray(b"x") * 64_000_000
    assert resident_bytes(os.getpid()) - before > 50_000_000
    del block


def test_other_systems_are_told_what_is_missing(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(AccountingError, match="Linux"):
        cpu_seconds([os.getpid()])
