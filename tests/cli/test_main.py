"""The command as a whole: usage errors, programs, ports that are taken."""

import runpy
import socket

import pytest

from cluster.cli import main as cli
from cluster.cli.dev import pick_binds
from cluster.errors import ConfigError


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    monkeypatch.setattr(cli.os, "environ", {})


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "COMMAND"),
        (["fly"], "fly"),
        (["get"], "KEY"),
        (["get", "k", "--fast"], "--fast"),
        (["get", "k", "--target", "nowhere"], "--target: 'nowhere' is no address"),
        (["get", "k", "--timeout", "0"], "--timeout"),
        (["get", "k", "--timeout", "2h"], "--timeout"),
        (["get", "k", "--consistency", "most"], "--consistency"),
        (["touch", "k"], "--ttl"),
        (["--json", "node"], "node: its options come after the name"),
        (["dev", "--nodes", "0"], "--nodes"),
        (["dev", "--nodes", "17"], "--nodes"),
        (["dev", "--base-port", "65000"], "--base-port"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(arguments, part, capsys):
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("hypercache: ")
    assert err.count("\n") == 1
    assert part in err


def test_an_unknown_variable(monkeypatch, capsys):
    monkeypatch.setattr(cli.os, "environ", {"HYPERCACHE_TARGETS": "a:1"})
    assert cli.main(["status"]) == 2
    assert "HYPERCACHE_TARGETS" in capsys.readouterr().err


def test_nobody_at_home_is_exit_3(capsys):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{closed.getsockname()[1]}"
        for command in (["get", "k"], ["status"]):
            assert cli.main([*command, "--target", target, "--timeout", "500ms"]) == 3
            assert target in capsys.readouterr().err


@pytest.mark.parametrize(("name", "module"), [("node", "cluster.node"), ("bench", "cluster.bench")])
def test_programs_get_the_rest_of_the_line(name, module, monkeypatch):
    ran = []

    def run_module(*args, **kwargs):
        ran.append((args, kwargs["run_name"], cli.sys.argv))

    monkeypatch.setattr(runpy, "run_module", run_module)
    monkeypatch.setattr(cli.sys, "argv", ["x"])
    assert cli.main([name, "--help", "-x"]) == 0
    assert ran == [((module,), "__main__", [f"hypercache {name}", "--help", "-x"])]


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for name in [
        "node",
        "dev",
        "bench",
        "get",
        "set",
        "del",
        "mget",
        "mset",
        "touch",
        "ttl",
        "keys",
        "status",
        "ring",
        "doctor",
    ]:
        assert f"\n    {name} " in text


def test_ports_of_a_local_cluster():
    assert pick_binds(2, 0) == [("127.0.0.1:0", "127.0.0.1:0")] * 2
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.listen()
        with pytest.raises(ConfigError, match=f"port {port} is taken") as caught:
            pick_binds(1, port)
    assert "--base-port 0" in str(caught.value)
