"""`python -m actors`: what it prints and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors import TraceLog
from actors.__main__ import main
from actors.tracing import write_ring

CHAIN = 0xABC
ROOT = Path(__file__).resolve().parents[2]


def add(trace, at, kind, actor, message_id, *, cause=0, chain=CHAIN, type_name="Put", **more):
    trace.append((
        trace.next_seq(), at, kind, actor, 1, message_id, cause, chain, type_name,
        more.get("queue", 0), more.get("waited", 0.0), more.get("took", 0.0),
        more.get("outcome", ""), more.get("size", 0),
    ))  # fmt: skip


@pytest.fixture
def files(tmp_path):
    """Two nodes whose clocks differ by 100 s: n1 sends a batch to n2, which answers."""
    one = TraceLog("n1", prefix=1, clock=lambda: 0.0, anchor_s=1000.0)
    two = TraceLog("n2", prefix=2, clock=lambda: 0.0, anchor_s=1100.0)
    first, second = one.new_id(), two.new_id()
    add(one, 200.0, "send", "/n1/replicator", first, queue=1, size=100)
    add(one, 200.001, "deliver", "/n1/replicator", first, waited=0.001)
    add(one, 200.003, "handle", "/n1/replicator", first, took=0.002)
    add(one, 200.004, "send", "/n1/other", one.new_id(), chain=5, type_name="Tick")
    add(two, 100.005, "send", "/n2/replicator", second, cause=first)
    add(two, 100.006, "deliver", "/n2/replicator", second, cause=first, waited=0.001)
    add(two, 100.0065, "note", "/n2/replicator", 0, cause=second, type_name="Stored", outcome="ok")
    add(two, 100.007, "handle", "/n2/replicator", second, cause=first, took=0.001)
    paths = [str(tmp_path / name) for name in ("n2.trace", "n1.trace")]
    write_ring(two, paths[0])
    write_ring(one, paths[1])
    return paths


def run(capsys, *args):
    status = main([str(arg) for arg in args])
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err


def test_files_are_merged_by_the_wall_clock(capsys, files):
    status, lines, _ = run(capsys, *files)
    assert status == 0
    assert [line.split()[:3] for line in lines] == [
        ["1200.000000", "n1", "send"],
        ["1200.001000", "n1", "deliver"],
        ["1200.003000", "n1", "handle"],
        ["1200.004000", "n1", "send"],
        ["1200.005000", "n2", "send"],
        ["1200.006000", "n2", "deliver"],
        ["1200.006500", "n2", "note"],
        ["1200.007000", "n2", "handle"],
    ]
    assert lines[0] == (
        "1200.000000 n1 send    /n1/replicator.1 Put id=10000000001 chain=abc queue=1 size=100"
    )


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--chain", "0xABC"], 7),
        (["--chain", "5"], 1),
        (["--actor", "/n2"], 4),
        (["--actor", "/n2/replicator/"], 4),
        (["--actor", "/n2/repl"], 0),
        (["--type", "Put", "--node", "n1"], 3),
        (["--node", "n3"], 0),
    ],
)
def test_filters(capsys, files, options, count):
    status, lines, _ = run(capsys, *files, *options)
    assert (status, len(lines)) == (0, count)


def test_the_tree_of_one_request_over_both_nodes(capsys, files):
    status, lines, _ = run(capsys, *files, "--tree", "--chain", "abc")
    assert status == 0
    assert lines == [
        "chain abc at 1200.000000",
        "  +0.000ms n1 /n1/replicator Put id=10000000001 waited=1.000ms took=2.000ms size=100",
        "    +5.000ms n2 /n2/replicator Put id=20000000001 waited=1.000ms took=1.000ms",
        "      +6.500ms n2 /n2/replicator Stored note:ok",
    ]
    _, lines, _ = run(capsys, *files, "--tree", "--chain", "abc", "--json")
    assert [json.loads(line)["depth"] for line in lines] == [0, 1, 2]


def test_a_circle_of_causes_is_shown_and_ends(capsys, tmp_path):
    trace = TraceLog("n1", prefix=0, clock=lambda: 0.0)
    add(trace, 0.0, "send", "/n1/a", 1, cause=2)
    add(trace, 0.0, "send", "/n1/a", 2, cause=1)
    write_ring(trace, tmp_path / "f")
    status, lines, _ = run(capsys, tmp_path / "f", "--tree", "--chain", "abc")
    assert (status, len(lines)) == (0, 3)


def test_statistics_per_actor(capsys, files):
    status, lines, _ = run(capsys, *files, "--stats")
    assert status == 0
    assert lines[0].split() == (
        [
            "actor",
            "handled",
            "waited",
            "mean",
            "ms",
            "max",
            "took",
            "mean",
            "ms",
            "max",
            "queue",
            "max",
            "other",
        ]
    )
    assert lines[2].split() == ["/n1/replicator", "1", "1.000", "1.000", "2.000", "2.000", "1"]
    assert lines[3].split()[-1] == "note=1"
    _, lines, _ = run(capsys, *files, "--stats", "--json")
    assert json.loads(lines[2])["kinds"] == {"send": 1, "deliver": 1, "note": 1, "handle": 1}


def test_json_is_one_object_a_line_with_hexadecimal_ids(capsys, files):
    _, lines, _ = run(capsys, *files, "--json", "--node", "n2")
    first = json.loads(lines[0])
    assert first["cause_id"] == "10000000001"
    assert first["wall_s"] == 1200.005
    assert {"seq", "kind", "chain_id", "bytes"} <= set(first)


def test_a_bad_file_is_named_and_the_rest_is_shown(capsys, files, tmp_path):
    cut = tmp_path / "cut.trace"
    cut.write_bytes(Path(files[0]).read_bytes()[:-5])
    (tmp_path / "text").write_text("no trace")
    status, lines, error = run(capsys, cut, tmp_path / "text", tmp_path / "missing", files[1])
    assert status == 2
    assert len(lines) == 7
    assert "cut.trace: cut off in the middle of the record" in error
    assert "text: not a trace file" in error
    assert "missing: No such file" in error


def test_bad_arguments_are_refused(capsys, files):
    for options in (["--tree"], ["--chain", "xyz"], ["--tree", "--stats"], []):
        with pytest.raises(SystemExit) as caught:
            main(options + (files if options else []))
        assert caught.value.code == 2
    assert "is no id: ids are hexadecimal" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    trace = TraceLog("n1", prefix=0, clock=lambda: 0.0)
    for _ in range(20_000):
        add(trace, 0.0, "send", "/n1/a", trace.new_id())
    write_ring(trace, tmp_path / "f")
    process = subprocess.Popen(
        [sys.executable, "-m", "actors", tmp_path / "f"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141
