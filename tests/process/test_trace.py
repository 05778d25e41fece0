"""Trace files of real nodes, and one request followed through all of them."""

import json
import sys

import pytest
import trio

from actors.tracing import TraceReader
from cluster.client import Consistency, connect
from cluster.launch import LaunchError, launch_cluster
from tests.process.raw import PATIENCE_S

pytestmark = pytest.mark.process


async def show(*arguments):
    """What `python -m actors` prints, by line."""
    with trio.fail_after(PATIENCE_S):
        ended = await trio.run_process(
            [sys.executable, "-m", "actors", *map(str, arguments)], capture_stdout=True
        )
    return ended.stdout.decode().splitlines()


async def traced(tmp_path, *options):
    """Run three nodes under some load; their trace files."""
    options = ("--trace", str(tmp_path / "{node}.trace"), *options)
    async with launch_cluster(3, options=options, log_dir=tmp_path) as cluster:
        async with connect(*cluster.addresses) as cache, trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(cache.set, f"key-{number}", number)
        async with connect(cluster.nodes[0].ws) as cache:
            await cache.delete("key-1", consistency=Consistency.ALL)
    return [tmp_path / f"{node.id}.trace" for node in cluster.nodes]


async def test_one_request_is_one_tree_over_all_nodes(tmp_path):
    files = await traced(tmp_path)
    [deleted] = map(json.loads, await show(*files, "--type", "delete", "--json"))
    chain = deleted["chain_id"]
    tree = [json.loads(line) for line in await show(*files, "--chain", chain, "--tree", "--json")]
    shape = [(each["depth"], each["type"]) for each in tree]
    assert shape == [
        (0, "ClientRequest"),
        (1, "ReplicaWrite"),
        (2, "ReplicaWrite"),
        (2, "ReplicaWrite"),
        (1, "delete"),
    ]
    request, sent, *served, finished = tree
    coordinator = deleted["node"]
    others = {"n1", "n2", "n3"} - {coordinator}
    assert request["message_id"] == chain
    assert {request["node"], sent["node"], finished["node"]} == {coordinator}
    assert sorted(sent["ends"]) == sorted(f"note:{node}" for node in others)
    assert {each["node"] for each in served} == others
    assert all(each["ends"] == ["note:ok"] for each in [*served, finished])
    assert 0 < finished["took_s"] < PATIENCE_S
    first, *_ = await show(*files, "--chain", chain, "--tree")
    assert first.startswith(f"chain {chain} at ")


async def test_a_file_is_whole_after_an_ordered_stop(tmp_path):
    for file in await traced(tmp_path, "--trace-sample", "0"):
        with TraceReader(file) as reader:
            assert reader.header.node == file.stem
            records = list(reader)
        assert [each for each in records if each.chain_id] == [], "of no chain, by the sample"
        assert {each.actor for each in records if each.kind == "start"} == {
            each.actor for each in records if each.kind == "stop"
        }
        assert records[-1].kind == "stop"


async def test_a_file_that_cannot_be_made_is_one_clear_line(tmp_path):
    with pytest.raises(LaunchError) as caught:
        async with launch_cluster(1, options=("--trace", str(tmp_path)), log_dir=tmp_path):
            pass
    assert "exit code 1" in str(caught.value)
    [line] = (tmp_path / "n1.log").read_text().splitlines()
    assert f"--trace: cannot write {tmp_path}: Is a directory" in line
