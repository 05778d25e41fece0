"""The README and the docs hold: commands, links, and the option defaults they name."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from cluster.cli.main import parser
from cluster.config import load
from cluster.errors import ClusterError
from cluster.gateway.endpoints import ENDPOINTS
from cluster.wire.messages import MESSAGE_TYPES

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text()
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEST_COMMAND = re.compile(r"^python3\.11 .*\.venv/bin/pytest$", re.MULTILINE)


def shell_lines(text):
    blocks = [body for language, body in FENCE.findall(text) if language == "sh"]
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def anchors_of(page):
    """Headings as GitHub links to them."""
    found = set()
    for title in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", title.lower())
        found.add(kept.replace(" ", "-"))
    return found


def ci_commands():
    done = subprocess.run(
        ["bash", str(ROOT / ".ci" / "run"), "--commands"],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()


def test_ci_runs_the_test_command_of_the_readme():
    (command,) = TEST_COMMAND.findall(README)
    set_up, _, test = command.rpartition(" && ")
    ci_set_up, ci_test = ci_commands()
    interpreter = ci_set_up.split(" ", 1)[0]
    assert ci_set_up == set_up.replace("python3.11", interpreter).replace(".venv", ".ci-venv")
    assert ci_test == test.replace(".venv", ".ci-venv")
    script = (ROOT / ".ci" / "run").read_text()
    assert 'bash -euo pipefail -c "$set_up"' in script
    assert 'bash -euo pipefail -c "$test_command"' in script


def test_the_readme_sets_everything_up_in_two_commands():
    lines = shell_lines(README)
    assert sum("pip install" in line for line in lines) == 2
    (cluster,) = [line for line in lines if line.endswith("dev --nodes 3")]
    assert cluster.startswith("python3.11 -m venv .venv && ")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page):
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), f"{link} leaves the repository"
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors_of(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_hypercache_command_is_one_that_the_program_takes(page):
    for line in shell_lines(page.read_text()):
        words = shlex.split(line.rpartition(" && ")[2], comments=True)
        if not words or Path(words[0]).name != "hypercache":
            continue
        if words[1] == "node":
            assert load(words[2:], {}).node_id
        else:
            assert parser().parse_args(words[1:]).command == words[1]


def test_every_page_of_the_docs_is_in_their_index():
    docs = ROOT / "docs"
    index = (docs / "README.md").read_text() + (docs / "decisions" / "README.md").read_text()
    named = {Path(link.partition("#")[0]).name for link in LINK.findall(index)}
    assert {page.name for page in docs.rglob("*.md")} - {"README.md"} <= named


def test_every_file_that_the_architecture_names_exists():
    text = (ROOT / "docs" / "architecture.md").read_text()
    for name in re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", text):
        found = [ROOT / name, ROOT / "cluster" / name, *(ROOT / "cluster").rglob(name)]
        found += (ROOT / "tests").rglob(Path(name).name)
        assert any(path.exists() for path in found), f"{name} does not exist"


def test_the_table_of_messages_is_that_of_the_code():
    text = (ROOT / "docs" / "protocol.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.MULTILINE)
    named = {int(tag): name for tag, name in rows}
    assert named == {tag: kind.__name__ for tag, kind in MESSAGE_TYPES.items()}


def test_the_table_of_pages_is_that_of_the_code():
    text = (ROOT / "docs" / "http.md").read_text()
    rows = re.findall(r"^\| `(/[^?`]+)[^|]*\| (?:`(\w+)`)? *\|", text, re.MULTILINE)
    named = dict(rows)
    assert set(named) | {"/openapi.json"} == {each.path for each in ENDPOINTS}
    for each in ENDPOINTS:
        if each.topic:
            assert named[each.path] == each.topic


def test_every_error_of_the_client_page_exists():
    text = (ROOT / "docs" / "client.md").read_text()
    rows = text[text.index("| error |") :].splitlines()[2:]
    cells = [row.split("|")[1] for row in rows if row.startswith("| `")]
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert len(named) > len(cells)
    assert named <= {each.__name__ for each in ClusterError.__subclasses__()}
