"""The results for people: a table of figures, one of ratios and targets."""

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table

from cluster.bench.measure import Figures
from cluster.bench.results import CellResult, Ratio, Results, targets
from cluster.bench.statistics import Pauses

__all__ = ["print_report"]

DASH = "-"


def print_report(results: Results, console: Console) -> None:
    """Print all tables that have rows."""
    if results.cells:
        console.print(_figures(results.cells))
        if any(result.ratio("operations_per_s") for result in results.cells):
            console.print(_ratios(results.cells))
        if any(result.traffic for result in results.cells):
            console.print(_traffic(results.cells))
    _print_resources(results, console)
    if targets(results):
        console.print(_targets(results))


def _table(title: str, first: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _figures(cells: list[CellResult]) -> Table:
    columns = ("", "ops/s", "p50 ms", "p95 ms", "p99 ms", "nodes us/op", "client us/op")
    table = _table("Figures (an operation is one key)", "workload", columns)
    for result in cells:
        title = result.cell.title
        for side, figures in (("product", result.product_figures), ("bare", result.bare_figures)):
            if figures is not None:
                table.add_row(title, side, *_figure_row(figures))
                title = ""
    return table


def _figure_row(figures: Figures) -> list[str]:
    latencies = (figures.p50_ms, figures.p95_ms, figures.p99_ms)
    return [
        f"{figures.operations_per_s:,.0f}",
        *(f"{latency:.2f}" for latency in latencies),
        _number(figures.node_cpu_us, "{:.1f}"),
        f"{figures.client_cpu_us:.1f}",
    ]


def _ratios(cells: list[CellResult]) -> Table:
    names = ("operations_per_s", "p50_ms", "p99_ms", "node_cpu_us", "client_cpu_us")
    columns = ("ops/s", "p50", "p99", "node CPU", "client CPU")
    table = _table("Product / bare stack (lowest..highest pair of slices)", "workload", columns)
    for result in cells:
        table.add_row(result.cell.title, *(_ratio(result.ratio(name)) for name in names))
    return table


def _traffic(cells: list[CellResult]) -> Table:
    columns = ("frames/op", "messages/frame", "bytes/op")
    table = _table("Sent by the nodes (product)", "workload", columns)
    for result in cells:
        traffic = result.traffic
        if traffic is not None:
            table.add_row(
                result.cell.title,
                f"{traffic.frames_per_operation:.3f}",
                _number(traffic.messages_per_frame, "{:.1f}"),
                _number(traffic.bytes_per_operation, "{:,.0f}"),
            )
    return table


def _print_resources(results: Results, console: Console) -> None:
    if results.bytes_per_record is not None:
        console.print(f"Resident bytes per record and node: {results.bytes_per_record:.0f}")
    if results.idle_share is not None:
        console.print(f"Idle cluster: {results.idle_share:.2%} of one core")
    memory = results.memory
    if memory is not None:
        console.print(
            f"One node with {memory.records:,} records: {memory.loaded_bytes:.0f} bytes per record,"
            f" {memory.overwritten_bytes:.0f} after an overwrite"
        )
        console.print(f"Longest pauses: {_pauses(memory.pauses)}")


def _pauses(pauses: Pauses) -> str:
    """In milliseconds."""
    parts = {
        "loop lag": pauses.loop_lag_s,
        "one message": pauses.handler_s,
        "garbage collection": pauses.collection_s,
    }
    return ", ".join(
        f"{name} {DASH if seconds is None else f'{seconds * 1000:.1f} ms'}"
        for name, seconds in parts.items()
    )


def _targets(results: Results) -> Table:
    table = _table("Targets", "figure", ("measured", "bound", ""))
    for target in targets(results):
        sign = "at least" if target.at_least else "at most"
        verdict = "[green]met[/]" if target.met else "[red]missed[/]"
        table.add_row(target.figure, f"{target.value:.4g}", f"{sign} {target.bound:g}", verdict)
    return table


def _ratio(ratio: Ratio | None) -> str:
    return DASH if ratio is None else f"{ratio.value:.2f} ({ratio.low:.2f}..{ratio.high:.2f})"


def _number(value: float | None, pattern: str) -> str:
    return DASH if value is None else pattern.format(value)
