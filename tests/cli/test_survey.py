"""status, ring, keys: what each node says, put together."""

import json

import pytest

from cluster.errors import Timeout
from tests.cli.fake_shell import World


def status(node_id, **changes):
    return {
        "node": node_id, "ready": True, "reason": "", "records": 5, "bytes": 99, "uptime_s": 12.3,
        "release": "0.1.0", "protocol": 1, "wall_ms": 1_000_000, "clock_offset_max_ms": 500,
        "ring": {"epoch": 1, "digest": "00ff00ff00ff00ff", "phase": "stable"},
    } | changes  # fmt: skip


def three_nodes(**keys_of):
    ids = ("n1", "n2", "n3")
    members = {"members": [{"id": i, "address": f"{i}:1", "state": "alive"} for i in ids]}
    nodes = {
        f"{node_id}:1": {
            "members": members,
            "status": status(node_id),
            "config": {"replication_factor": 2},
            "keys": pages(keys_of.get(node_id, ())),
        }
        for node_id in ids
    }
    return World(nodes=nodes, environment={"HYPERCACHE_TARGET": "n9:1,n1:1"})


def pages(keys):
    """A node's `keys`: two per page."""

    def page(cursor, limit, **wanted):
        assert limit == 1000
        assert wanted in ({"prefix": ""}, {"prefix": "u", "match": "*1"}, {"prefix_b64": "/w=="})
        start = int(cursor or 0)
        more = start + 2 < len(keys)
        return {"keys": list(keys[start : start + 2]), "cursor": str(start + 2) if more else None}

    return page


async def test_status():
    world = three_nodes()
    del world.nodes["n2:1"]
    world.nodes["n3:1"]["status"] = status("n3", ready=False, reason="no ring yet")
    ran = await world.run("status")
    lines = ran.out.decode().splitlines()
    assert ran.code == 0
    assert lines[0].startswith("node\taddress\tstate")
    assert lines[1] == "n1\tn1:1\tready\t1/00ff00ff\t5\t99\t12s\t0.1.0"
    assert lines[2].startswith("n2\tn2:1\tsilent: cannot connect")
    assert "no ring yet" in lines[3]
    shown = json.loads((await world.run("status", "--json")).out)["nodes"]
    assert [each["node"] for each in shown] == ["n1", "n2", "n3"]
    assert "error" in shown[1]
    assert "n1:1" in (await world.run("status", for_people=True)).out.decode()


async def test_nobody_answers():
    world = World(environment={"HYPERCACHE_TARGET": "a:1,b:2"})
    for command in ("status", "ring", "keys"):
        ran = await world.run(command)
        assert ran.code == 3
        assert "a:1: cannot connect" in ran.err
        assert "b:2: cannot connect" in ran.err


async def test_ring():
    def ring(**arguments):
        assert arguments in ({}, {"key": "k"}, {"key_b64": "/w=="})
        nodes = [{"id": "n1", "copies": 256, "primaries": 128}]
        body = {"epoch": 1, "digest": "ff", "phase": "stable", "nodes": nodes, "change": None}
        return body | ({"partition": 7, "owners": ["n1", "n2"]} if arguments else {})

    world = World(nodes={"127.0.0.1:7946": {"ring": ring}})
    assert (await world.run("ring")).out == b"node\tcopies\tprimaries\nn1\t256\t128\n"
    assert (await world.run("ring", "k")).out.endswith(b"partition 7: n1, n2\n")
    assert json.loads((await world.run("ring", "\udcff", "--json")).out)["owners"] == ["n1", "n2"]


async def test_keys_are_the_union_of_all_nodes():
    world = three_nodes(n1=["a", "b", {"b64": "/w=="}], n2=["b", "c"], n3=["c", "a", "d", "e"])
    ran = await world.run("keys")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == b"a\nb\n\xff\nc\nd\ne\n"
    assert (await world.run("keys", "--limit", "2")).out == b"a\nb\n"
    shown = json.loads((await world.run("keys", "--json")).out)
    assert shown == {"keys": ["a", "b", {"b64": "/w=="}, "c", "d", "e"], "partial": []}
    assert (await world.run("keys", for_people=True)).out.splitlines()[2] == b"\\xff"
    assert (await world.run("keys", "--prefix", "u", "--match", "*1")).code == 0
    assert (await world.run("keys", "--prefix", "\udcff")).code == 0


async def test_keys_with_silent_nodes():
    world = three_nodes(n1=["a"], n2=["a", "b"], n3=["b"])
    world.nodes["n2:1"]["keys"] = Timeout("too slow")
    ran = await world.run("keys")
    assert (ran.code, ran.out) == (0, b"a\nb\n")  # every key has another owner
    assert "node n2 at n2:1 is silent: too slow" in ran.err
    world.nodes["n3:1"]["keys"] = Timeout("too slow")
    ran = await world.run("keys")
    assert (ran.code, ran.out) == (3, b"a\n")
    assert "keys may be missing" in ran.err


async def test_no_keys():
    assert (await three_nodes().run("keys")).code == 1


@pytest.mark.parametrize("text", ["0", "x", "-1"])
async def test_a_bad_limit(text):
    ran = await three_nodes().run("keys", f"--limit={text}")
    assert ran.code == 2
    assert "--limit" in ran.err
