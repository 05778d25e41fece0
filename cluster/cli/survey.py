"""Commands that look at a cluster: status, ring, keys.

Each asks the members one by one, because the question is what each node says, not what the cluster
answers.
"""

import argparse
import base64
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import trio

from cluster.cli.exits import DONE, NOT_FOUND, UNAVAILABLE
from cluster.cli.output import readable
from cluster.cli.parsing import Commands
from cluster.cli.shell import Shell
from cluster.errors import ClusterError, ConfigError, Unavailable
from cluster.option_values import between, whole

__all__ = ["Answer", "Member", "add_commands", "ask_all", "find_members"]

KEYS_PAGE: Final = 1000
KEYS_LIMIT_MAX: Final = 1_000_000_000


@attrs.frozen
class Member:
    """A member of the cluster as the first node that answered knows it."""

    id: str
    address: str


@attrs.frozen
class Answer:
    """What one member answered: a body, or why there is none."""

    member: Member
    body: Any
    error: str = ""
    sent_s: float = 0.0
    """Wall clock of this machine when it was asked, seconds."""
    took_s: float = 0.0


def add_commands(commands: Commands) -> None:
    """Add the commands that look at a cluster."""
    commands.add("status", _status, "what every member says of itself")

    ring = commands.add("ring", _ring, "how the keys are spread over the members")
    ring.add_argument("key", metavar="KEY", nargs="?", help="also show the owners of this key")

    keys = commands.add("keys", _keys, "list the keys of the whole cluster")
    keys.add_argument("--prefix", metavar="TEXT", default="", help="only keys that begin so")
    keys.add_argument("--match", metavar="GLOB", default="", help="only keys like this: * ? [a-z]")
    keys.add_argument("--limit", metavar="N", help="stop after N keys (default: all)")


async def find_members(shell: Shell) -> list[Member]:
    """The members that the first target that answers knows.

    Raises:
        Unavailable: no target answered; the message names each with its reason.
    """
    refusals = []
    for target in shell.options.targets:
        try:
            body = await shell.ask(target, "members")
        except ClusterError as error:
            refusals.append(f"{target}: {error}")
        else:
            return [Member(each["id"], each["address"]) for each in body["members"]]
    raise Unavailable(f"no node answers: {'; '.join(refusals)}")


async def ask_all(
    shell: Shell, members: Sequence[Member], topic: str, **arguments: str | int
) -> list[Answer]:
    """Ask every member at the same time; the answers come in the order of the members."""
    answers: dict[str, Answer] = {}

    async def ask(member: Member) -> None:
        sent_s, start = shell.wall_s(), trio.current_time()
        try:
            body = await shell.ask(member.address, topic, **arguments)
        except ClusterError as error:
            answers[member.id] = Answer(member, None, str(error) or type(error).__name__)
        else:
            took_s = trio.current_time() - start
            answers[member.id] = Answer(member, body, sent_s=sent_s, took_s=took_s)

    async with trio.open_nursery() as nursery:
        for member in members:
            nursery.start_soon(ask, member)
    return [answers[member.id] for member in members]


async def _status(shell: Shell, _: argparse.Namespace) -> int:
    answers = await ask_all(shell, await find_members(shell), "status")
    if shell.output.as_json:
        shell.output.json(
            {
                "nodes": [
                    answer.body or {"node": answer.member.id, "error": answer.error}
                    for answer in answers
                ]
            }
        )
    else:
        columns = ["node", "address", "state", "ring", "records", "bytes", "uptime", "release"]
        shell.output.table(columns, [_status_row(answer) for answer in answers])
    return DONE if any(answer.body for answer in answers) else UNAVAILABLE


def _status_row(answer: Answer) -> list[Any]:
    member, body = answer.member, answer.body
    if body is None:
        return [member.id, member.address, f"silent: {answer.error}", None, None, None, None, None]
    return [
        member.id,
        member.address,
        "ready" if body["ready"] else body["reason"],
        f"{body['ring']['epoch']}/{body['ring']['digest'][:8]}",
        body["records"],
        body["bytes"],
        f"{body['uptime_s']:.0f}s",
        body["release"],
    ]


async def _ring(shell: Shell, arguments: argparse.Namespace) -> int:
    asked = {} if arguments.key is None else bytes_argument("key", os.fsencode(arguments.key))
    body = await _first_answer(shell, "ring", asked)
    if shell.output.as_json:
        shell.output.json(body)
        return DONE
    title = f"epoch {body['epoch']}, {body['phase']}, digest {body['digest']}"
    rows = [(each["id"], each["copies"], each["primaries"]) for each in body["nodes"]]
    shell.output.table(["node", "copies", "primaries"], rows, title)
    if "owners" in body:
        owners = ", ".join(body["owners"])
        shell.output.line(f"partition {body['partition']}: {owners}")
    return DONE


async def _first_answer(shell: Shell, topic: str, arguments: Mapping[str, str]) -> Any:
    refusals = []
    for target in shell.options.targets:
        try:
            return await shell.ask(target, topic, **arguments)
        except Unavailable as error:
            refusals.append(f"{target}: {error}")
    raise Unavailable(f"no node answers: {'; '.join(refusals)}")


async def _keys(shell: Shell, arguments: argparse.Namespace) -> int:
    limit = _limit(arguments.limit)
    wanted: dict[str, str] = bytes_argument("prefix", os.fsencode(arguments.prefix))
    if arguments.match:
        wanted |= bytes_argument("match", os.fsencode(arguments.match))
    members = await find_members(shell)
    copies = await _copies(shell, members)
    seen: dict[bytes, None] = {}
    silent = []
    for member in members:
        try:
            await _keys_of(shell, member, wanted, seen, limit)
        except ClusterError as error:
            silent.append(member.id)
            shell.output.remark(f"node {member.id} at {member.address} is silent: {error}")
        if len(seen) >= limit:
            break
    if shell.output.as_json:
        shell.output.json({"keys": list(seen), "partial": silent})
    if len(silent) >= copies:
        shell.output.remark("keys may be missing: for some of them no owner has answered")
        return UNAVAILABLE
    return DONE if seen else NOT_FOUND


async def _copies(shell: Shell, members: Sequence[Member]) -> int:
    """Owners of every key: fewer silent nodes than these hide no key."""
    configured = await _first_answer(shell, "config", {})
    return min(int(configured["replication_factor"]), len(members))


async def _keys_of(
    shell: Shell, member: Member, wanted: Mapping[str, str], seen: dict[bytes, None], limit: int
) -> None:
    """Print the keys of one member that were not seen yet, page by page."""
    cursor: str | None = ""
    while cursor is not None:
        page = await shell.ask(member.address, "keys", cursor=cursor, limit=KEYS_PAGE, **wanted)
        for shown in page["keys"]:
            key = shown.encode() if isinstance(shown, str) else base64.b64decode(shown["b64"])
            if key in seen:
                continue
            if len(seen) >= limit:
                return
            seen[key] = None
            if not shell.output.as_json:
                shell.output.line(readable(key) if shell.output.for_people else os.fsdecode(key))
        cursor = page["cursor"]


def bytes_argument(name: str, value: bytes) -> dict[str, str]:
    """The control argument for bytes: as text if they are UTF-8, else `<name>_b64`."""
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_b64": base64.b64encode(value).decode()}


def _limit(text: str | None) -> int:
    if text is None:
        return KEYS_LIMIT_MAX
    try:
        return between(whole, "1", str(KEYS_LIMIT_MAX))(text)
    except ValueError as error:
        raise ConfigError(f"--limit: {error}") from None
