import json
import sys

import msgpack
import pytest

from cluster.bench.bare_link import Outbox, Tag, frame, pack
from cluster.bench.bare_stack import BareNode
from cluster.bench.main import main


def drain(outbox):
    """The messages that wait in an outbox, as the other side would decode them."""
    parts, outbox._parts = outbox._parts, []
    return msgpack.unpackb(frame(parts))[4] if parts else []


class Trio:
    """Three nodes wired back to back; frames move when `settle` is called."""

    def __init__(self):
        self.nodes = [BareNode() for _ in range(3)]
        self.links = {}
        for source, node in enumerate(self.nodes):
            for target in range(3):
                if target != source:
                    self.links[source, target] = Outbox()
                    node.peers.append(self.links[source, target])
        self.client = Outbox()

    def ask(self, number, *messages):
        self.nodes[number].on_client_frame(self.client, list(messages))
        self.settle()
        return drain(self.client)

    def settle(self):
        moved = True
        while moved:
            moved = False
            for (source, target), outbox in self.links.items():
                messages = drain(outbox)
                if messages:
                    moved = True
                    self.nodes[target].on_peer_frame(self.links[target, source], messages)


def write(request_id, **items):
    keys = [key.encode() for key in items]
    return [Tag.WRITE, request_id, 2, 2000, keys, [b"\x01" + value for value in items.values()], 0]


def read(request_id, *keys):
    return [Tag.READ, request_id, 2, 2000, [key.encode() for key in keys]]


def values(reply):
    return [record and record[17:] for record in reply[2]]


def test_a_frame_is_the_array_that_the_product_sends():
    for count in (1, 15, 16, 1000):
        decoded = msgpack.unpackb(frame([pack([Tag.READ, n]) for n in range(count)]))
        version, clock, epoch, digest, messages = decoded
        assert (version, epoch) == (1, 1)
        assert clock > 0
        assert digest > 2**63
        assert messages == [[Tag.READ, n] for n in range(count)]


def test_a_write_is_on_all_nodes_and_answered_once():
    three = Trio()
    [reply] = three.ask(0, write(7, a=b"x"))
    assert reply[:2] == [Tag.WRITTEN, 7]
    assert len(reply[2]) == 16
    assert [node.table[b"a"][17:] for node in three.nodes] == [b"x"] * 3


@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_node_reads_what_was_written(number):
    three = Trio()
    three.ask(0, write(1, a=b"x", b=b"y"))
    [reply] = three.ask(number, read(2, "a", "none", "b"))
    assert reply[:2] == [Tag.VALUES, 2]
    assert values(reply) == [b"x", None, b"y"]


def test_requests_of_one_frame_share_a_round_and_keep_their_answers():
    three = Trio()
    replies = three.ask(1, write(1, a=b"1"), write(2, b=b"2"), write(3, c=b"3"))
    assert [reply[1] for reply in replies] == [1, 2, 3]
    replies = three.ask(2, read(4, "a", "b"), write(5, d=b"4"), read(6, "c"))
    found = {reply[1]: reply for reply in replies}
    assert found.keys() == {4, 5, 6}
    assert values(found[4]) == [b"1", b"2"]
    assert values(found[6]) == [b"3"]


def test_a_read_answers_the_newer_of_two_copies():
    three = Trio()
    three.ask(0, write(1, a=b"old"))
    three.ask(0, write(2, a=b"new"))
    newer = three.nodes[1].table[b"a"]
    three.nodes[0].table[b"a"] = bytes(8) + newer[8:17] + b"stale"
    for request_id in (3, 4):
        [reply] = three.ask(0, read(request_id, "a"))
        assert values(reply) == [b"new"]


def test_equal_copies_are_not_sent_again():
    three = Trio()
    three.ask(0, write(1, a=b"x"))
    record = three.nodes[0].table[b"a"]
    answer = three.nodes[1]._answer([Tag.REPLICA_READ, 1, 2000, [b"a"], [record[:16]], [1]])
    assert answer[3:] == [1, [], []]


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="the accounting needs Linux")
def test_the_yardstick_is_measured_end_to_end(capsys, tmp_path):
    arguments = (
        "--only-bare --json --workload get --seconds 0.2 --keys 500 --batch 50 --in-flight 4"
    )
    assert main([*arguments.split(), "--log-dir", str(tmp_path)]) == 0
    body = json.loads(capsys.readouterr().out)
    assert len(body["cells"]) == 2
    for cell in body["cells"]:
        assert cell["product"] is None
        assert cell["bare"]["operations_per_s"] > 0
        assert cell["bare"]["node_cpu_us"] > 0
        assert cell["bare"]["client_cpu_us"] > 0
    assert body["targets"] == []
    assert [path.read_text() for path in tmp_path.glob("b*.log")] == ["", "", ""]
