"""The ring, files, and the reading of files."""

from collections import Counter

import msgpack
import pytest
import trio

from actors import TraceFormatError, TraceLog
from actors.testing import run_virtual, running, virtual
from actors.tracing import (
    FIELDS,
    Kind,
    TraceReader,
    TraceWriter,
    sampled,
    write_ring,
)
from tests.actors.actor_kit import boom, child, system
from tests.actors.world import live


def log(capacity=100, prefix=0):
    return TraceLog("n1", prefix=prefix, capacity=capacity, clock=lambda: 1.5)


def record(trace, kind="note", actor="/n1/a", chain=0, type_name="T"):
    return (
        trace.next_seq(), trace.clock(), kind, actor, 1, trace.new_id(), 0, chain, type_name, 0,
        0.0, 0.0, "", 0,
    )  # fmt: skip


def test_the_fields_are_those_of_the_format():
    assert FIELDS == (
        "seq", "at", "kind", "actor", "incarnation", "message_id", "cause_id", "chain_id", "type",
        "queue_len", "waited", "took", "outcome", "bytes",
    )  # fmt: skip


def test_the_ring_is_bounded_and_can_be_asked():
    trace = log(capacity=3)
    for chain in (1, 2, 1, 2):
        trace.append(record(trace, chain=chain, actor=f"/n1/{chain}"))
    assert [r.seq for r in trace.records()] == [1, 2, 3]
    assert [r.seq for r in trace.chain(2)] == [1, 3]
    assert [r.seq for r in trace.actor("/n1/1")] == [2]
    assert [r.seq for r in trace.where(kind="note", type="T", chain=1)] == [2]
    assert [r.seq for r in trace.last_of("/n1/2", 1)] == [3]
    assert len(trace) == 3


def test_ids_of_several_logs_never_meet():
    one, two = log(prefix=1), log(prefix=2)
    assert [one.new_id(), one.new_id(), two.new_id()] == [
        (1 << 40) + 1,
        (1 << 40) + 2,
        (2 << 40) + 1,
    ]
    assert log(prefix=(1 << 24) - 1).new_id() < 1 << 64
    with pytest.raises(ValueError, match="prefix"):
        log(prefix=1 << 24)
    with pytest.raises(ValueError, match="at least one record"):
        log(capacity=0)


@virtual()
async def test_all_kinds_are_of_the_closed_set_and_the_flow_is_complete():
    s = system(child("a"))
    async with running(s):
        s.ref("a").tell("x", chain=7, cause=3)
        s.ref("a").tell(boom)
        await trio.sleep(1)
    assert {r.kind for r in s.trace.records()} <= {kind.value for kind in Kind}
    flow = s.trace.chain(7)
    assert [r.kind for r in flow] == ["send", "deliver", "handle"]
    assert len({r.message_id for r in flow}) == 1
    assert {r.cause_id for r in flow} == {3}
    assert [r.seq for r in s.trace.records()] == list(range(len(s.trace)))


@virtual()
async def test_cause_and_chain_are_inherited_or_given():
    s = system(child("a"), child("b"))

    def forward(_, ctx):
        b = ctx.lookup("b")
        ctx.tell(b, "inherits")
        ctx.tell(b, "own", chain=8)
        b.tell("nothing")
        ctx.note("batched", chain=9, bytes=5, outcome="ok", took=0.5)

    async with running(s):
        s.ref("a").tell(forward, chain=7)
        await trio.sleep(1)
    cause = s.trace.where(kind="send", actor="/n1/a")[0].message_id
    sends = s.trace.where(kind="send", actor="/n1/b")
    assert [(r.cause_id, r.chain_id) for r in sends] == [(cause, 7), (cause, 8), (0, 0)]
    (note,) = s.trace.where(kind="note")
    assert (note.type, note.chain_id, note.bytes, note.outcome, note.took) == (
        "batched", 9, 5, "ok", 0.5,
    )  # fmt: skip


@virtual()
async def test_notes_of_a_batch_begin_chains_or_belong_to_them():
    s = system(child("a"))

    def note_all(_, ctx):
        ctx.notes("Request", [7, 8], message_id=None, cause=ctx.message_id)
        ctx.notes("Round", [7, 8], message_id=5, outcome="n2", bytes=2)
        ctx.notes("Served", [7], cause=5)

    async with running(s):
        s.ref("a").tell(note_all)
        await trio.sleep(1)
    (sent,) = s.trace.where(kind="send", actor="/n1/a")
    notes = s.trace.where(kind="note")
    assert [(r.type, r.message_id, r.cause_id, r.chain_id) for r in notes] == [
        ("Request", 7, sent.message_id, 7),
        ("Request", 8, sent.message_id, 8),
        ("Round", 5, 7, 7),
        ("Round", 5, 8, 8),
        ("Served", 0, 5, 7),
    ]
    assert [(r.outcome, r.bytes) for r in notes] == [
        ("", 0),
        ("", 0),
        ("n2", 2),
        ("n2", 2),
        ("", 0),
    ]


@virtual()
async def test_a_file_holds_what_happened_while_it_was_written(tmp_path):
    path = tmp_path / "n1.trace"
    trace = TraceLog("n1", prefix=1, boot_id=99, anchor_s=1000.0)
    writer = TraceWriter(path, trace, threads=False)
    trace.append(record(trace))  # before: not in the file
    async with trio.open_nursery() as nursery:
        await nursery.start(writer.run)
        for _ in range(1200):
            trace.append(record(trace))
        await trio.sleep(1)
        trace.append(record(trace))  # the last one is written when the writer is cancelled
        nursery.cancel_scope.cancel()
    trace.append(record(trace))  # after: not in the file
    with TraceReader(path) as reader:
        assert (reader.header.node, reader.header.boot_id, reader.header.anchor_s) == (
            "n1",
            99,
            1000.0,
        )
        assert [r.seq for r in reader] == list(range(1, 1202))
    assert (writer.written, writer.dropped) == (1201, 0)
    assert len(trace) == 1203


async def test_a_real_file_is_written_in_a_thread(tmp_path):
    trace = TraceLog("n1", prefix=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(TraceWriter(tmp_path / "f", trace).run)
        trace.append(record(trace))
        with trio.fail_after(5):
            while (tmp_path / "f").stat().st_size < 150:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    with TraceReader(tmp_path / "f") as reader:
        assert len(list(reader)) == 1


@virtual()
async def test_a_full_buffer_and_a_full_file_drop_and_count(tmp_path):
    trace = log()
    small = TraceWriter(tmp_path / "a", trace, buffer_max=10, threads=False)
    short = TraceWriter(tmp_path / "b", trace, file_bytes_max=100, threads=False)
    for writer in (small, short):
        async with trio.open_nursery() as nursery:
            await nursery.start(writer.run)
            for _ in range(15):
                trace.append(record(trace))
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
    assert (small.written, small.dropped) == (10, 5)
    assert (short.written, short.dropped) == (0, 15)
    with TraceReader(tmp_path / "a") as reader:
        last = list(reader)[-1]
    assert (last.kind, last.type, last.outcome) == ("note", "records dropped", "5")


@virtual()
async def test_a_disk_that_fails_ends_the_tracing_only(tmp_path, caplog):
    trace = log()
    writer = TraceWriter("/dev/full", trace, threads=False)
    with pytest.raises(OSError, match="No space"):
        await writer.run()
    good = TraceWriter(tmp_path / "a", trace, threads=False)

    def fail(file, data):
        raise OSError("disk gone")

    async with trio.open_nursery() as nursery:
        await nursery.start(good.run)
        good._write = fail
        trace.append(record(trace))
        await trio.sleep(1)
        assert good.written == 1
        trace.append(record(trace))
        assert good.written == 1
    assert "disk gone" in caplog.text


def test_a_sample_is_a_share_of_the_chains_and_the_same_everywhere():
    chains = range(1, 10_001)
    assert 0.23 < sum(sampled(chain, 0.25) for chain in chains) / 10_000 < 0.27
    assert all(sampled(chain, 1.0) for chain in chains)
    assert not any(sampled(chain, 0.0) for chain in chains)
    assert sampled(0, 0.0)
    with pytest.raises(ValueError, match="share"):
        TraceWriter("x", log(), sample=1.1)


@virtual()
async def test_the_writer_samples(tmp_path):
    trace = log(capacity=2000)
    async with trio.open_nursery() as nursery:
        await nursery.start(TraceWriter(tmp_path / "a", trace, sample=0.5, threads=False).run)
        for chain in range(1000):
            trace.append(record(trace, chain=chain))
        nursery.cancel_scope.cancel()
    with TraceReader(tmp_path / "a") as reader:
        written = {r.chain_id for r in reader}
    assert written == {chain for chain in range(1000) if sampled(chain, 0.5)}


def test_bad_files_are_named(tmp_path):
    def bad(data, match):
        path = tmp_path / "bad"
        path.write_bytes(data)
        with pytest.raises(TraceFormatError, match=match), TraceReader(path) as reader:
            list(reader)

    trace = log()
    trace.append(record(trace))
    write_ring(trace, tmp_path / "good")
    good = (tmp_path / "good").read_bytes()
    bad(b"", "not a trace file")
    bad(b"hello, world", "not a trace file")
    bad(good[:20], "cut off in the middle of the record at byte 0")
    bad(good[:-3], "cut off in the middle")
    bad(good + b"\xc1", "bad data at byte")
    bad(good + msgpack.packb([1, 2]), "no trace record at byte")
    bad(good + msgpack.packb("x" * 70_000), "bad data at byte|cut off")
    header = {"format": "actors-trace", "version": 2}
    bad(msgpack.packb(header), "version 2 of the format")
    bad(msgpack.packb(header | {"version": 1, "node": 3}), "lacks node")


def test_the_trace_of_a_rough_world_obeys_the_rules():
    """Each ask has exactly one end, and nothing is handled outside of an incarnation."""
    system = run_virtual(live, 3, seed=3)
    ends, asked, living = Counter(), set(), {}
    for r in system.trace.records():
        if r.kind == "send" and r.type == "Get":
            asked.add(r.message_id)
        elif r.kind in {"reply", "expire"}:
            ends[r.message_id] += 1
        elif r.kind == "start":
            living[r.actor] = r.incarnation
        elif r.kind == "stop":
            living.pop(r.actor, None)
        elif r.kind in {"deliver", "handle"}:
            assert living[r.actor] == r.incarnation
    assert len(asked) > 100
    assert asked <= set(ends)
    assert set(ends.values()) == {1}
    assert living == {}
