"""Options: where they may come from, which wins, and every way to be refused."""

import attrs
import pytest

from cluster.config import Config, load, node_parser
from cluster.errors import ConfigError
from cluster.options import options_of, release


def refusal(arguments=(), environment=None):
    with pytest.raises(ConfigError) as caught:
        load(list(arguments), environment or {}, host_name="h")
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_defaults():
    config = load([], {}, host_name="web1")
    assert config.node_id == "web1-7946"
    assert (config.bind, config.http) == ("127.0.0.1:7946", "127.0.0.1:8946")
    assert (config.replication_factor, config.virtual_nodes) == (3, 1024)
    assert (config.request_timeout_s, config.clock_offset_max_ms) == (2.0, 500)
    assert (config.value_max_bytes, config.frame_max_bytes) == (1024**2, 4 * 1024**2)
    assert (config.advertise, config.seeds, config.trace) == ("", (), None)
    assert config.founders == 1


def test_flag_wins_over_environment_over_file_over_default(tmp_path):
    file = tmp_path / "node.toml"
    file.write_text('zone = "file"\ncluster_name = "file"\nnode_id = "file"\nweight = 2\n')
    environment = {"HYPERCACHE_ZONE": "variable", "HYPERCACHE_CLUSTER_NAME": "variable"}
    config = load(["--config", str(file), "--zone", "flag"], environment)
    assert (config.zone, config.cluster_name, config.node_id) == ("flag", "variable", "file")
    assert config.weight == 2.0
    assert config.codec == "msgpack"


def test_the_file_can_be_named_by_the_environment(tmp_path):
    file = tmp_path / "node.toml"
    file.write_text('zone = "z"')
    assert load([], {"HYPERCACHE_CONFIG": str(file)}).zone == "z"


def test_every_option_can_come_from_each_source(tmp_path):
    texts = {
        "node-id": "n1", "cluster-name": "c", "bind": "127.0.0.1:1", "advertise": "a.example:2",
        "seed": "b.example:3", "bootstrap-expect": "3", "http": "off", "replication-factor": "2",
        "virtual-nodes": "512", "zone": "z", "weight": "1.5", "request-timeout": "250ms",
        "value-max": "64KiB", "frame-max": "1MiB", "clock-offset-max": "1s", "codec": "json",
        "trace": "/t", "trace-sample": "0.5", "log-level": "debug", "log-format": "json",
    }  # fmt: skip
    assert set(texts) == {each.name for each in options_of(Config)}
    by_flag = load([part for name, text in texts.items() for part in (f"--{name}", text)], {})
    variables = {
        "HYPERCACHE_" + name.upper().replace("-", "_"): text for name, text in texts.items()
    }
    file = tmp_path / "node.toml"
    file.write_text("".join(f'{n.replace("-", "_")} = "{text}"\n' for n, text in texts.items()))
    assert by_flag == load([], variables) == load(["--config", str(file)], {})
    assert by_flag.seeds == ("b.example:3",)
    assert by_flag.http is None
    assert (by_flag.request_timeout_s, by_flag.value_max_bytes) == (0.25, 65536)
    changed = [field.name for field in attrs.fields(Config)]
    default = load([], {}, host_name="h")
    assert all(getattr(by_flag, name) != getattr(default, name) for name in changed)


def test_lists(tmp_path):
    wanted = ("a:1", "b:2")
    file = tmp_path / "node.toml"
    file.write_text('seed = ["a:1", "b:2"]')
    assert load(["--seed", "a:1", "--seed", "b:2"], {}).seeds == wanted
    assert load([], {"HYPERCACHE_SEED": "a:1, b:2"}).seeds == wanted
    assert load(["--config", str(file)], {}).seeds == wanted
    assert load(["--seed", "c:3"], {"HYPERCACHE_SEED": "a:1"}).seeds == ("c:3",)
    assert load([], {"HYPERCACHE_SEED": ""}).seeds == ()


@pytest.mark.parametrize(
    ("option", "text", "part"),
    [
        ("node-id", "a b", "no name"),
        ("node-id", "x" * 65, "no name"),
        ("node-id", "", "no name"),
        ("cluster-name", "ü", "no name"),
        ("bind", "127.0.0.1", "host:port"),
        ("bind", "127.0.0.1:65536", "host:port"),
        ("bind", "::1:7946", "[::1]:7946"),
        ("bind", "[zz]:1", "IPv6"),
        ("bind", ":1", "host name"),
        ("seed", "host:0", "port 0"),
        ("seed", "a:1,b:2", "ambiguous"),
        ("bootstrap-expect", "0", "1 to 256"),
        ("bootstrap-expect", "-1", "no whole number"),
        ("http", "on", "host:port"),
        ("replication-factor", "0", "1 to 16"),
        ("replication-factor", "three", "no whole number"),
        ("virtual-nodes", "1000", "power of two"),
        ("virtual-nodes", "0", "power of two"),
        ("virtual-nodes", "128", "256 to 65536"),
        ("weight", "0", "0.01 to 100"),
        ("weight", "nan", "no number"),
        ("weight", "heavy", "no number"),
        ("request-timeout", "2", "ms, s, m, h or d"),
        ("request-timeout", "0s", "1ms to 1h"),
        ("request-timeout", "2 s", "no duration"),
        ("value-max", "1000", "KiB"),
        ("value-max", "1MB", "KiB"),
        ("value-max", "0.3B", "whole number of bytes"),
        ("clock-offset-max", "1.5ms", "whole number of milliseconds"),
        ("codec", "pickle", "msgpack, json"),
        ("trace", "", "file path"),
        ("trace-sample", "1.1", "0 to 1"),
        ("log-level", "INFO", "debug, info"),
        ("log-format", "xml", "text, json"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_the_option(option, text, part, tmp_path):
    key = option.replace("-", "_")
    variable = f"HYPERCACHE_{key.upper()}"
    file = tmp_path / "node.toml"
    file.write_text(f'{key} = "{text}"\n')
    for place, line in (
        (f"--{option}", refusal([f"--{option}={text}"])),
        (f"node.toml: {key}", refusal(["--config", str(file)])),
    ):
        assert place in line
        assert part in line
    if option != "seed":  # a list there
        line = refusal([], {variable: text})
        assert line.startswith(variable)
        assert part in line


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--nodeid", "x"], "--nodeid"),
        (["--node", "x"], "--node"),  # no abbreviations: a new option must not change an old line
        (["--zone"], "--zone"),
        (["stray"], "stray"),
        (["--zone", "a", "--zone", "b"], "--zone: takes one value"),
        (["--config", "/no/such/file.toml"], "/no/such/file.toml"),
        (["--bind", "0.0.0.0:7946"], "--advertise: needed"),
        (["--bind", "[::]:7946"], "--advertise: needed"),
        (["--advertise", "0.0.0.0:1"], "--advertise"),
        (["--value-max", "3MiB"], "--frame-max"),
        (["--http", "127.0.0.1:7946"], "--http"),
    ],
)
def test_other_refusals(arguments, part):
    assert part in refusal(arguments)


def test_an_unknown_variable_is_refused():
    assert refusal([], {"HYPERCACHE_NODEID": "x"}).startswith("HYPERCACHE_NODEID")
    client = {"HYPERCACHE_TARGET": "a:1", "HYPERCACHE_TIMEOUT": "2s", "PATH": "/bin"}
    assert load([], client).seeds == ()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('nodeid = "x"', "unknown key 'nodeid'"),
        ('config = "x"', "unknown key 'config'"),
        ("[zone]\nname = 1", "zone: takes text or a number, not dict"),
        ("weight = true", "not bool"),
        ("zone = [1]", "not a list"),
        ('seed = [["a:1"]]', "not list"),
        ("zone = ", "no TOML"),
        ("zone = '\x80'", "no TOML"),
    ],
)
def test_a_bad_file_is_refused(text, part, tmp_path):
    file = tmp_path / "node.toml"
    file.write_bytes(text.encode("latin-1"))
    line = refusal(["--config", str(file)])
    assert "node.toml" in line
    assert part in line


def test_a_huge_file_is_refused(tmp_path):
    file = tmp_path / "node.toml"
    file.write_text("#" * (1024 * 1024 + 1))
    assert "larger than" in refusal(["--config", str(file)])


def test_founders():
    assert load(["--seed", "a:1"], {}).founders == 0
    assert load(["--seed", "a:1", "--bootstrap-expect", "3"], {}).founders == 3
    assert load(["--bootstrap-expect", "3"], {}).founders == 3


def test_default_node_ids():
    assert load(["--bind", "[::1]:5"], {}, host_name="a_b c.ü").node_id == "a_b-c.--5"
    assert len(load([], {}, host_name="h" * 100).node_id) == 64
    first = load(["--bind", "127.0.0.1:0"], {}, host_name="h").node_id
    assert first.startswith("h-")
    assert first != "h-0"


def test_durations_and_sizes():
    for text, seconds in (("250ms", 0.25), ("1.5m", 90), ("1h", 3600), ("0.5s", 0.5)):
        assert load(["--request-timeout", text], {}).request_timeout_s == seconds
    for text, size in (("1B", 1), ("1.5KiB", 1536), ("2MiB", 2 << 20)):
        assert load(["--value-max", text], {}).value_max_bytes == size


def test_help_shows_every_option_with_its_default(capsys):
    with pytest.raises(SystemExit) as ended:
        load(["--help"], {})
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for each in options_of(Config):
        assert f"{each.flag} {each.metavar}" in text
        assert each.help in text
        shown = each.unset if each.default is None else (each.default or '""')
        assert f"(default: {shown})" in text


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        node_parser("x").parse_args(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"hypercache {release()}\n"


def test_as_json_is_plain():
    shown = load(["--seed", "a:1"], {}, host_name="h").as_json()
    assert set(shown) == {field.name for field in attrs.fields(Config)}
    assert shown["seeds"] == ["a:1"]
    assert shown["bootstrap_expect"] is None
