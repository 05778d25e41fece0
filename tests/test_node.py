"""The entry point: exit codes, one line per failure, and log lines for people and machines."""

import errno
import json
import logging
import sys

import pytest
from loguru import logger

from cluster import node
from cluster.config import Config
from cluster.errors import ClusterError


@pytest.fixture(autouse=True)
def restored_logging(monkeypatch):
    monkeypatch.setattr(node.os, "environ", {})
    yield
    logging.getLogger("actors").filters.clear()
    logger.remove()
    logger.configure(extra={})
    logger.add(sys.stderr)


def failing(error):
    async def serve(_config):
        raise error

    return serve


def test_a_bad_option_is_one_line_and_exit_2(capsys):
    assert node.main(["--weight", "heavy"]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hypercache: --weight: 'heavy' is no number\n")


def test_the_exit_code_is_that_of_the_node(monkeypatch):
    seen = []

    async def serve(config):
        seen.append(config)
        return 0

    monkeypatch.setattr(node, "serve", serve)
    assert node.main(["--node-id", "n7"]) == 0
    assert seen[0].node_id == "n7"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EADDRINUSE, "cannot listen on a:1: taken"),
        ClusterError("cannot listen on a:1: taken"),
        ExceptionGroup("g", [ExceptionGroup("h", [OSError(98, "cannot listen on a:1: taken")])]),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_exit_1(error, monkeypatch, capsys):
    monkeypatch.setattr(node, "serve", failing(error))
    assert node.main(["--node-id", "n7"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "n7" in err
    assert "cannot listen on a:1: taken" in err
    assert "Traceback" not in err


def test_a_bug_shows_its_traceback_but_no_values(monkeypatch, capsys):
    async def serve(_config):
        secret = "value of a user"
        raise RuntimeError(f"planted {len(secret)}")

    monkeypatch.setattr(node, "serve", serve)
    assert node.main(["--node-id", "n7"]) == 1
    err = capsys.readouterr().err
    assert "the node failed" in err
    assert "planted 15" in err
    assert "value of a user'" not in err


def test_text_lines(capsys):
    node.set_up_logging(Config(node_id="n7", log_level="warning"))
    logger.info("not shown")
    logger.bind(op="get").warning("braces {{}} and <tags> in {}", "{x} <red>")
    (line,) = capsys.readouterr().err.splitlines()
    assert " WARNING n7 " in line
    assert line.endswith("braces {} and <tags> in {x} <red> op=get")


def test_json_lines(capsys):
    node.set_up_logging(Config(node_id="n7", log_format="json"))
    logger.bind(op="get").info("hello {}", 5)
    logger.opt(exception=ValueError("planted")).error("failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.pop("at").count(":") >= 2
    assert first == {
        "level": "info", "module": __name__, "message": "hello 5", "node": "n7", "op": "get",
    }  # fmt: skip
    assert second["error"] == "ValueError('planted')"
    assert "ValueError: planted" in second["text"]


def test_warnings_of_the_actor_runtime_are_log_lines_like_all_others(capsys):
    for _ in range(2):
        node.set_up_logging(Config(node_id="n7", log_format="json"))
    actors = logging.getLogger("actors")
    actors.warning("%d records {lost}", 5)
    try:
        raise ValueError("planted")  # noqa: TRY301 - to have a traceback
    except ValueError:
        actors.exception("a hook failed")
    out, err = capsys.readouterr()
    first, second = map(json.loads, err.splitlines())
    assert out == ""
    assert (first["level"], first["module"], first["node"]) == ("warning", "actors", "n7")
    assert first["message"] == "5 records {lost}"
    assert second["error"] == "ValueError('planted')"
