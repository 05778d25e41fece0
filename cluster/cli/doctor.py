"""`hypercache doctor`: ask every node, compare the answers, say what is wrong and what to do.

Asking and judging are apart: `diagnose` is a pure function from what the nodes answered to a list
of findings.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import attrs

from cluster.cli.exits import DONE, NOT_FOUND, UNAVAILABLE
from cluster.cli.parsing import Commands
from cluster.cli.shell import Shell
from cluster.cli.survey import Answer, Member, ask_all
from cluster.errors import ClusterError

__all__ = ["Finding", "Survey", "add_commands", "diagnose"]

ALIVE: Final = "alive"
OFFSET_SHARE_MAX: Final = 0.5
"""Share of `clock_offset_max` that two clocks may differ before it is worth a warning."""


@attrs.frozen
class Finding:
    """One check: whether it holds, what was seen, and what to do if it does not."""

    check: str
    ok: bool
    seen: str
    advice: str = ""


@attrs.frozen
class Survey:
    """What was asked and answered."""

    unreachable: Mapping[str, str]
    """Targets that did not answer, with the reason."""
    statuses: Sequence[Answer]
    """`status` of every member that any target knows."""
    members: Sequence[Answer]
    """`members` of the same."""


def add_commands(commands: Commands) -> None:
    """Add the doctor."""
    commands.add("doctor", _doctor, "check a cluster and say what to do")


async def _doctor(shell: Shell, _: argparse.Namespace) -> int:
    survey = await take_survey(shell)
    findings = list(diagnose(survey))
    if shell.output.as_json:
        shell.output.json({"findings": [attrs.asdict(each) for each in findings]})
    else:
        rows = [
            ("ok" if each.ok else "WRONG", each.check, each.seen, each.advice or None)
            for each in findings
        ]
        shell.output.table(["", "check", "seen", "what to do"], rows)
    if not any(answer.body for answer in survey.statuses):
        return UNAVAILABLE
    return DONE if all(each.ok for each in findings) else NOT_FOUND


async def take_survey(shell: Shell) -> Survey:
    """Ask the targets who is there, and then everybody for status and members."""
    unreachable: dict[str, str] = {}
    known: dict[str, Member] = {}
    for target in shell.options.targets:
        try:
            body = await shell.ask(target, "members")
        except ClusterError as error:
            unreachable[target] = str(error)
        else:
            for each in body["members"]:
                known.setdefault(each["id"], Member(each["id"], each["address"]))
    members = [known[node_id] for node_id in sorted(known)]
    return Survey(
        unreachable,
        await ask_all(shell, members, "status"),
        await ask_all(shell, members, "members"),
    )


def diagnose(survey: Survey) -> Iterator[Finding]:
    """All checks, in the order in which a person would look."""
    yield _targets(survey.unreachable)
    silent = [answer for answer in survey.statuses if answer.body is None]
    answered = [answer for answer in survey.statuses if answer.body is not None]
    yield _members(survey.statuses, silent)
    if not answered:
        return
    yield _ready(answered)
    yield _rings(answered)
    yield _links(survey.members)
    yield _clocks(answered)
    yield _releases(answered)


def _targets(unreachable: Mapping[str, str]) -> Finding:
    if not unreachable:
        return Finding("targets answer", ok=True, seen="all")
    seen = "; ".join(f"{target}: {reason}" for target, reason in unreachable.items())
    advice = "start the node, or name another with --target; check host, port and firewall"
    return Finding("targets answer", ok=False, seen=seen, advice=advice)


def _members(statuses: Sequence[Answer], silent: Sequence[Answer]) -> Finding:
    check = "members answer"
    if not statuses:
        return Finding(check, ok=False, seen="no member is known", advice="name a node by --target")
    if not silent:
        return Finding(check, ok=True, seen=_names(answer.member.id for answer in statuses))
    seen = "; ".join(f"{each.member.id} at {each.member.address}: {each.error}" for each in silent)
    advice = "start these nodes; if they run, their --advertise must be an address others can dial"
    return Finding(check, ok=False, seen=seen, advice=advice)


def _ready(answered: Sequence[Answer]) -> Finding:
    waiting = [answer for answer in answered if not answer.body["ready"]]
    if not waiting:
        return Finding("nodes are ready", ok=True, seen="all that answer")
    seen = "; ".join(f"{each.member.id}: {each.body['reason']}" for each in waiting)
    advice = "start the missing members, or check --seed and --bootstrap-expect of these nodes"
    return Finding("nodes are ready", ok=False, seen=seen, advice=advice)


def _rings(answered: Sequence[Answer]) -> Finding:
    check = "one ring on all nodes"
    rings = {
        answer.member.id: f"{answer.body['ring']['epoch']}/{answer.body['ring']['digest']}"
        for answer in answered
    }
    if len(frozenset(rings.values())) == 1:
        return Finding(check, ok=True, seen=next(iter(rings.values())))
    advice = (
        "nodes that were founded apart never merge: stop the smaller part, start its nodes again "
        "with --seed of the larger one and without --bootstrap-expect"
    )
    return Finding(check, ok=False, seen=_grouped(rings), advice=advice)


def _links(members: Sequence[Answer]) -> Finding:
    check = "every member reaches every other"
    broken = [
        f"{answer.member.id} sees {each['id']} {each['state']}"
        for answer in members
        if answer.body is not None
        for each in answer.body["members"]
        if each["state"] != ALIVE
    ]
    if not broken:
        return Finding(check, ok=True, seen="all links are up")
    advice = "check firewall and --advertise between these nodes, and the log of both"
    return Finding(check, ok=False, seen="; ".join(broken), advice=advice)


def _clocks(answered: Sequence[Answer]) -> Finding:
    """Compare clocks through this machine's: the halves of two round trips are the uncertainty."""
    check = "clocks agree"
    offsets = {each.member.id: _offset_ms(each) for each in answered}
    doubt_ms = sum(sorted(each.took_s * 500 for each in answered)[-2:])
    spread_ms = max(offsets.values()) - min(offsets.values())
    limit_ms = OFFSET_SHARE_MAX * min(each.body["clock_offset_max_ms"] for each in answered)
    seen = f"{spread_ms:.0f} ms apart at most (give or take {doubt_ms:.0f} ms)"
    if spread_ms - doubt_ms <= limit_ms:
        return Finding(check, ok=True, seen=seen)
    first = min(offsets, key=lambda node_id: offsets[node_id])
    last = max(offsets, key=lambda node_id: offsets[node_id])
    advice = "run a time service (chrony, ntpd) on all machines: writes are refused above the limit"
    return Finding(
        check, ok=False, seen=f"{seen}: {first} is behind, {last} is ahead", advice=advice
    )


def _offset_ms(answer: Answer) -> float:
    return float(answer.body["wall_ms"]) - (answer.sent_s + answer.took_s / 2) * 1000


def _releases(answered: Sequence[Answer]) -> Finding:
    check = "one release"
    versions = {
        answer.member.id: f"{answer.body['release']} (protocol {answer.body['protocol']})"
        for answer in answered
    }
    if len(frozenset(versions.values())) == 1:
        return Finding(check, ok=True, seen=next(iter(versions.values())))
    advice = "finish the upgrade: neighbouring releases work together, but not for ever"
    return Finding(check, ok=False, seen=_grouped(versions), advice=advice)


def _grouped(by_node: Mapping[str, Any]) -> str:
    pairs = sorted((value, node_id) for node_id, value in by_node.items())
    return "; ".join(
        f"{value}: {_names(node_id for _, node_id in group)}"
        for value, group in groupby(pairs, key=lambda pair: pair[0])
    )


def _names(ids: Iterable[str]) -> str:
    return ", ".join(ids)
