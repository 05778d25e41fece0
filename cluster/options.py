"""Options declared once, as fields of an attrs class; read from flags, environment and TOML.

A field made by `option(...)` says its name, its type, its default and what it does. Everything else
is derived from that one table: the flags and help of argparse, the environment variables
`HYPERCACHE_<OPTION>`, the keys of the TOML file. Precedence: flag, environment, TOML, default. A
bad value or an unknown key raises `ConfigError` with one line that names the place and the option.

This module does not know which options there are (`config`, `cli`), nor relations between two of
them.
"""

import argparse
import importlib.metadata
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import attrs

from cluster.errors import ConfigError

__all__ = [
    "ENVIRONMENT_PREFIX",
    "LineParser",
    "Option",
    "add_options",
    "option",
    "options_of",
    "release",
    "resolve",
    "unknown_variables",
]

C = TypeVar("C")

ENVIRONMENT_PREFIX: Final = "HYPERCACHE_"
DISTRIBUTION: Final = "hypercache-cluster"
TOML_BYTES_MAX: Final = 1024 * 1024
_METADATA_KEY: Final = "hypercache option"


@attrs.frozen(kw_only=True)
class Option:
    """One option: how it is written, read and explained.

    `default` is written like a value, so that it is parsed by the same rules and `--help` can show
    it; None means that the option is unset: `unset` says in words what then happens, `empty` is the
    value in the object. `parse` turns one text into the value or raises `ValueError`. A repeatable
    option is a tuple of such values. A switch takes no value on the command line: the flag means
    `true`.
    """

    name: str
    parse: Callable[[str], Any]
    metavar: str
    help: str
    default: str | None = None
    unset: str = "unset"
    empty: Any = None
    repeatable: bool = False
    switch: bool = False
    field: str = ""

    @property
    def flag(self) -> str:
        """The flag on the command line, such as `--node-id`."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable, such as `HYPERCACHE_NODE_ID`."""
        return ENVIRONMENT_PREFIX + self.key.upper()

    @property
    def key(self) -> str:
        """The key in a TOML file, such as `node_id`."""
        return self.name.replace("-", "_")

    def value(self, texts: Sequence[str], place: str) -> Any:
        """The value of what was written at `place`.

        Raises:
            ConfigError: naming the place and what is wrong.
        """
        try:
            values = tuple(self.parse(text) for text in texts)
        except ValueError as error:
            raise ConfigError(f"{place}: {error}") from None
        if self.repeatable:
            return values
        if len(values) != 1:
            raise ConfigError(f"{place}: takes one value, not {len(values)}")
        return values[0]

    def default_value(self) -> Any:
        """The value when nobody says anything."""
        return self.empty if self.default is None else self.value([self.default], self.flag)


def option(
    name: str,
    parse: Callable[[str], Any],
    metavar: str,
    default: str | None,
    help: str,  # noqa: A002 - the word that argparse and people use
    *,
    unset: str = "unset",
    empty: Any = None,
    repeatable: bool = False,
    switch: bool = False,
) -> Any:
    """A field of an options class; see `Option`. Two fields of one class never share a name."""
    made = Option(
        name=name,
        parse=parse,
        metavar=metavar,
        help=help,
        default=default,
        unset=unset,
        empty=empty,
        repeatable=repeatable,
        switch=switch,
    )
    return attrs.field(kw_only=True, factory=made.default_value, metadata={_METADATA_KEY: made})


def options_of(kind: type) -> tuple[Option, ...]:
    """The option table of a class, in the order of its fields."""
    return tuple(
        attrs.evolve(field.metadata[_METADATA_KEY], field=field.name)
        for field in attrs.fields(kind)
        if _METADATA_KEY in field.metadata
    )


class LineParser(argparse.ArgumentParser):
    """An argparse parser whose errors are one `ConfigError` line instead of a page of usage."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **arguments,
        )

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise ConfigError(f"{message} (try {self.prog} --help)")


def add_options(parser: argparse.ArgumentParser, options: Iterable[Option]) -> None:
    """Give the parser one flag per option. Values stay texts: `resolve` parses them all alike."""
    for each in options:
        shown = each.unset if each.default is None else (each.default or '""')
        if each.switch:
            how: dict[str, Any] = {"action": "store_const", "const": ["true"]}
        else:
            how = {"action": "append", "metavar": each.metavar}
        parser.add_argument(
            each.flag,
            dest=each.field,
            # Absent unless given: a flag before a subcommand is then not undone by the subcommand.
            default=argparse.SUPPRESS,
            help=(each.help if each.switch else f"{each.help} (default: {shown})").replace(
                "%", "%%"
            ),
            **how,
        )


def resolve(
    kind: type[C],
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    toml: Mapping[str, Any] | None = None,
    toml_name: str = "",
) -> C:
    """An instance of `kind` from what was written: flag, environment, TOML, default.

    Args:
        kind: a class whose fields were made by `option`.
        flags: texts by field name, as `add_options` makes argparse collect them.
        environment: the variables of the process.
        toml: the parsed file, if there is one.
        toml_name: what to call the file in a refusal.

    Raises:
        ConfigError: one line that names the option and the place.
    """
    table = options_of(kind)
    filed = _file_texts(table, toml or {}, toml_name)
    values: dict[str, Any] = {}
    for each in table:
        if (given := flags.get(each.field)) is not None:
            values[each.field] = each.value(given, each.flag)
        elif each.variable in environment:
            values[each.field] = each.value(
                _variable_texts(each, environment[each.variable]), each.variable
            )
        elif each.key in filed:
            values[each.field] = each.value(filed[each.key], f"{toml_name}: {each.key}")
    return kind(**values)


def unknown_variables(known: Iterable[Option], environment: Mapping[str, str]) -> list[str]:
    """The variables with our prefix that are none of the known options, sorted."""
    names = {each.variable for each in known}
    return sorted(
        name for name in environment if name.startswith(ENVIRONMENT_PREFIX) and name not in names
    )


def read_toml(path: str) -> dict[str, Any]:
    """The contents of a TOML file of options.

    Raises:
        ConfigError: the file cannot be read, is too large, or is no TOML.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(TOML_BYTES_MAX + 1)
        if len(text) > TOML_BYTES_MAX:
            raise ConfigError(f"{path}: larger than {TOML_BYTES_MAX} bytes; is it the right file?")
        return tomllib.loads(text.decode())
    except OSError as error:
        raise ConfigError(f"--config: cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: no TOML: {error}") from None


def release() -> str:
    """The version of the installed distribution; `unknown` when running from files without one."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _variable_texts(each: Option, text: str) -> list[str]:
    if not each.repeatable:
        return [text]
    return [part.strip() for part in text.split(",")] if text.strip() else []


def _file_texts(
    table: Sequence[Option], toml: Mapping[str, Any], toml_name: str
) -> dict[str, list[str]]:
    known = {each.key: each for each in table}
    texts: dict[str, list[str]] = {}
    for key, value in toml.items():
        if key not in known:
            raise ConfigError(f"{toml_name}: unknown key {key!r}")
        place = f"{toml_name}: {key}"
        if isinstance(value, list):
            if not known[key].repeatable:
                raise ConfigError(f"{place}: takes one value, not a list")
            texts[key] = [_scalar_text(item, place) for item in value]
        else:
            texts[key] = [_scalar_text(value, place)]
    return texts


def _scalar_text(value: Any, place: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError(f"{place}: takes text or a number, not {type(value).__name__}")
    return str(value)
