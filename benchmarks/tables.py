"""A result as Markdown. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from . import server_tables
from .figures import digits, figure
from .machine import in_words
from .markdown import table
from .measures import Result, ceiling, rates, share_of_ceiling
from .targets import TARGETS, Target, measured


def page(result: Result) -> str:
    """Return all tables of a result."""
    parts = [_heading(result), "## Targets", targets(result)]
    if "engines" in result:
        parts += ["## Engines alone", _engines_heading(result), engines(result)]
        parts += ["## Ceilings", ceilings(result)]
    for record in result.get("served", ()):
        parts += [_served_heading(record), served(record)]
    if "interference" in result:
        parts += ["## Busy Python threads", interference(result)]
    return "\n\n".join((*parts, *_of_servers(result), *_missing(result))) + "\n"


def server_page(result: Result) -> str:
    """Return the tables of servers at rest, with the targets that the result has figures for."""
    title = "# Starts, memory, lone calls and windows"  # the page links to it
    when = f"{result['taken_at']}, {setting(result)}"
    parts = [title, when, "## Targets", targets(result, measured_only=True)]
    return "\n\n".join((*parts, *_of_servers(result), *_missing(result))) + "\n"


def _of_servers(result: Result) -> Iterator[str]:
    if "memory" in result:
        yield from ("## Memory", server_tables.memory(result))
    if "start" in result:
        yield from ("## Starts", server_tables.starts(result))
    if "lone" in result:
        yield from ("## A call on an idle server", server_tables.lone(result["lone"]["call"]))
        small = server_tables.left(result["lone"]["small"])
        yield from ("## What a small model leaves of the echo", small)
    if "windows" in result:
        checkpoint = result["windows"]["checkpoint"]
        yield from (f"## Windows, Rank and zero-shot: {checkpoint}", windows(result))


def _missing(result: Result) -> Iterator[str]:
    if result["missing"]:
        yield from ("## Not measured", "\n".join(f"- {line}" for line in result["missing"]))


def targets(result: Result, of: Iterable[Target] = TARGETS, *, measured_only: bool = False) -> str:
    """Return targets, their measured figures, and whether each is met."""

    def rows() -> Iterator[Sequence[object]]:
        for target in of:
            value = measured(target, result)
            bound = f"{'under' if target.is_upper else 'at least'} {target.bound:g}"
            if value is None:
                if not measured_only:
                    yield target.name, bound, "not measured", "–"
            else:
                yield target.name, bound, value, "met" if target.is_met(value) else "not met"

    return table(("", "target", "measured", ""), rows())


def engines(result: Result) -> str:
    """Return tokens per second of each engine, and its share of its precision's ceiling."""

    def rows() -> Iterator[Sequence[object]]:
        for name, entry in result["engines"]["engines"].items():
            precision = entry["about"].get("precision", "float32")
            share = (
                share_of_ceiling(result, name, precision)
                if precision in result["engines"]["ceilings"]
                else "–"
            )
            yield name, entry["texts"], figure(rates(result, name)), share

    return table(("engine", "texts", "tokens/s", "share of ceiling"), rows())


def ceilings(result: Result) -> str:
    """Return the best rate of each precision and of each kernel."""
    rows = (
        (precision, name, figure([rate / 1e9 for rate in kernel]))
        for precision, kernels in result["engines"]["ceilings"].items()
        for name, kernel in sorted(kernels.items(), key=lambda item: -max(item[1]))
    )
    best = ", ".join(
        f"{precision} {digits(figure(ceiling(result, precision)).median / 1e9)}"
        for precision in result["engines"]["ceilings"]
    )
    return f"Giga-operations per second: {best}.\n\n" + table(("precision", "kernel", ""), rows)


def served(record: Result) -> str:
    """Return rates and latencies of each call."""

    def rows() -> Iterator[Sequence[object]]:
        for entry in record["calls"]:
            rounds = entry["rounds"]

            def median(field: str, scale: float = 1.0, of: Sequence[Result] = rounds) -> str:
                return digits(figure([scale * taken[field] for taken in of]).median)

            reference = entry["alone"] or entry["echo"]
            share = (
                digits(
                    figure(
                        [
                            a["texts_per_s"] / b["texts_per_s"]
                            for a, b in zip(rounds, reference, strict=True)
                        ]
                    ).median
                )
                if reference
                else "–"
            )
            yield (
                entry["shape"], entry["in_flight"], median("texts_per_s"), median("tokens_per_s"),
                median("p50_s", 1e3), median("p95_s", 1e3), median("p99_s", 1e3),
                median("mean_batch_texts"), share,
                ", ".join(sorted({by for taken in rounds for by in taken["computed_by"]})),
            )  # fmt: skip

    return table(
        (
            "call", "in flight", "texts/s", "tokens/s", "p50, ms", "p95, ms", "p99, ms",
            "texts of a batch", "÷ engine alone" if record["pinned"] else "÷ echo", "computed by",
        ),
        rows(),
    )  # fmt: skip


def windows(result: Result) -> str:
    """Return times of calls and of batches of the same inputs, and p99s of short calls."""
    taken = result["windows"]
    rows = [
        (name, *(figure([1e3 * seconds for seconds in compared[side]]) for side in compared))
        for name, compared in taken["compared"].items()
    ]
    p99_ms = {state: figure([1e3 * s for s in p99_s]) for state, p99_s in taken["p99_s"].items()}
    loaded = ", ".join(
        f"{p99_ms[priority]} ms next to a text of 64 windows ({priority})"
        for priority in p99_ms
        if priority != "idle"
    )
    return (
        table(("call", "call, ms", "a batch of its inputs, ms"), rows)
        + f"\n\nShort calls, p99: {p99_ms['idle']} ms on the idle server, {loaded}."
    )


def interference(result: Result) -> str:
    """Return times of a forward pass with and without busy threads, for both architectures."""
    taken = result["interference"]
    rows = (
        (
            name,
            figure([1e3 * s for s in taken[kind]["idle_s"]]),
            figure([1e3 * s for s in taken[kind]["busy_s"]]),
        )
        for kind, name in (("worker", "separate process"), ("here", "process of the threads"))
    )
    return table(("engine in a", "alone, ms", f"next to {taken['threads']} threads, ms"), rows)


def _heading(result: Result) -> str:
    return f"# Benchmark, {result['plan']}, {result['taken_at']}\n\n{setting(result)}"


def setting(result: Result) -> str:
    """Return the machine, the versions, the rounds and the duration of a run."""
    machine = result["machine"]
    return (
        f"{in_words(machine)} ({machine['instructions']}), "
        f"Python {machine['python']}, torch {machine['torch']}, "
        f"rounds: {result['rounds']}, {result['minutes']:.0f} minutes. "
        "Medians; in brackets the lowest and highest round."
    )


def _engines_heading(result: Result) -> str:
    taken = result["engines"]
    return (
        f"{taken['shape']}, texts of up to {taken['longest_tokens']} tokens, one thread on core "
        f"{taken['core']}. The share of the ceiling counts linear layers, "
        f"{digits(taken['linear_flops_per_token'] / 1e6)} MFLOP a token. It does not count "
        f"attention's products, {100 * taken['attention_share']:.0f} % more."
    )


def _served_heading(record: Result) -> str:
    cores = record["cores"]
    return (
        f"## Served: {record['checkpoint']}, {record['precision']}\n\n"
        f"Server and load on cores {cores['server']}, worker on {cores['worker']}."
    )
