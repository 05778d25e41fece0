import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.net.addresses import format_address, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:7946", "127.0.0.1", 7946),
        ("[::1]:7946", "::1", 7946),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
        ("node-1.example_net:0", "node-1.example_net", 0),
    ],
)
def test_parse_and_format(text, host, port):
    assert parse_address(text) == (host, port)
    assert format_address(host, port) == text


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", ":1", "host:65536", "host:-1", "::1:7946", "[::1]", "a b:1", "h:1\n",
     "[host]:1", "h:٣", "h" * 254 + ":1", "http://h:1"],
)  # fmt: skip
def test_refusals(text):
    with pytest.raises(ValueError, match=r"address|port"):
        parse_address(text)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_parses_or_is_refused(text):
    try:
        host, port = parse_address(text)
    except ValueError:
        return
    assert parse_address(format_address(host, port)) == (host, port)
