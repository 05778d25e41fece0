"""The doctor: a healthy cluster, and every illness by itself."""

import json

import attrs
import pytest

from cluster.cli.doctor import Survey, diagnose
from cluster.cli.survey import Answer, Member
from tests.cli.test_survey import status, three_nodes

NODES = [Member(f"n{n}", f"n{n}:1") for n in (1, 2, 3)]


def survey(**changes):
    alive = {"members": [{"id": each.id, "state": "alive"} for each in NODES]}
    healthy = Survey(
        unreachable={},
        statuses=[Answer(each, status(each.id), sent_s=1000.0, took_s=0.002) for each in NODES],
        members=[Answer(each, alive) for each in NODES],
    )
    return attrs.evolve(healthy, **changes)


def with_second(body):
    """All statuses, but for that of n2."""
    statuses = survey().statuses
    return [statuses[0], attrs.evolve(statuses[1], body=body), statuses[2]]


def test_a_healthy_cluster():
    findings = list(diagnose(survey()))
    assert [each.check for each in findings if not each.ok] == []
    assert len(findings) == 7


ILL = {
    "targets answer": (survey(unreachable={"x:1": "refused"}), "x:1: refused", "--target"),
    "members answer": (
        survey(statuses=[*survey().statuses[:2], Answer(NODES[2], None, "refused")]),
        "n3 at n3:1: refused",
        "--advertise",
    ),
    "nodes are ready": (
        survey(statuses=with_second(status("n2", ready=False, reason="no ring yet"))),
        "n2: no ring yet",
        "--bootstrap-expect",
    ),
    "one ring on all nodes": (
        survey(
            statuses=with_second(status("n2", ring={"epoch": 1, "digest": "aa", "phase": "stable"}))
        ),
        "1/00ff00ff00ff00ff: n1, n3; 1/aa: n2",
        "--seed",
    ),
    "every member reaches every other": (
        survey(
            members=[Answer(NODES[0], {"members": [{"id": "n3", "state": "unreachable"}]})],
        ),
        "n1 sees n3 unreachable",
        "firewall",
    ),
    "clocks agree": (
        survey(statuses=with_second(status("n2", wall_ms=1_000_400))),
        "400 ms apart at most (give or take 2 ms): n1 is behind, n2 is ahead",
        "time service",
    ),
    "one release": (
        survey(statuses=with_second(status("n2", release="0.2.0"))),
        "0.1.0 (protocol 1): n1, n3; 0.2.0 (protocol 1): n2",
        "upgrade",
    ),
}


@pytest.mark.parametrize("check", ILL)
def test_every_illness_is_found_alone_and_has_an_advice(check):
    ill, seen, advice = ILL[check]
    wrong = [each for each in diagnose(ill) if not each.ok]
    assert [each.check for each in wrong] == [check]
    assert wrong[0].seen == seen
    assert advice in wrong[0].advice


def test_a_slow_answer_is_no_wrong_clock():
    slow = attrs.evolve(survey().statuses[1], sent_s=999.0, took_s=1.6)
    findings = diagnose(survey(statuses=[survey().statuses[0], slow]))
    assert all(each.ok for each in findings)


async def test_the_command():
    world = three_nodes()
    world.environment = {"HYPERCACHE_TARGET": "n1:1"}
    ran = await world.run("doctor")
    assert ran.code == 0
    assert ran.out.count(b"ok\t") == 7
    del world.nodes["n2:1"]
    ran = await world.run("doctor", "--json")
    assert ran.code == 1
    wrong = [each for each in json.loads(ran.out)["findings"] if not each["ok"]]
    assert [each["check"] for each in wrong] == ["members answer"]


async def test_nobody_answers():
    world = three_nodes()
    world.nodes.clear()
    ran = await world.run("doctor")
    assert ran.code == 3
    assert b"n9:1: cannot connect" in ran.out
