"""The benchmark against real nodes, at the smallest size that still runs every step."""

import json
import sys

import pytest
import trio

from cluster.bench import contest
from cluster.bench.generator import open_generator
from cluster.bench.main import main
from cluster.errors import Unavailable
from cluster.launch import launch_cluster

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="the accounting needs Linux"),
]

TINY = ["--json", "--workload=set", "--seconds=0.2", "--keys=200", "--batch=20", "--in-flight=2"]


async def test_a_running_cluster_is_measured_by_its_address(capsys, tmp_path):
    async with launch_cluster(1, log_dir=tmp_path) as cluster:
        arguments = [*TINY, "--target", cluster.addresses[0]]
        assert await trio.to_thread.run_sync(main, arguments) == 0
    body = json.loads(capsys.readouterr().out)
    assert len(body["cells"]) == 2
    for cell in body["cells"]:
        assert cell["bare"] is None
        assert cell["product"]["operations_per_s"] > 0
        assert cell["product"]["node_cpu_us"] is None
        assert cell["traffic"]["messages_per_frame"] >= 1


def test_memory_of_one_node(capsys, tmp_path):
    assert main(["--json", "--memory", "3000", "--log-dir", str(tmp_path)]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["cells"] == []
    memory = body["memory"]
    assert memory["records"] == 3_000
    assert memory["loaded_bytes"] > 100
    assert memory["pauses"]["loop_lag_s"] >= 0
    assert memory["pauses"]["handler_s"] > 0
    assert [target["figure"] for target in body["targets"]][-1] == "longest pause, s"


def test_a_cluster_that_does_not_answer_is_exit_code_3(capsys, monkeypatch):
    monkeypatch.setattr(contest, "CONNECT_TIMEOUT_S", 0.2)
    assert main([*TINY, "--target", "127.0.0.1:1"]) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "127.0.0.1:1" in printed.err.splitlines()[-1]


async def test_a_load_process_that_reaches_nobody_says_so():
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        async with open_generator(["127.0.0.1:1"], (), bare=True):
            pytest.fail("it connected")
