"""A comparison as Markdown. Pure."""

from collections.abc import Iterator, Sequence

from benchmarks.figures import digits, figure
from benchmarks.machine import in_words
from benchmarks.markdown import table
from benchmarks.tables import targets
from benchmarks.targets import PEER_TARGETS

from .figures import OTHERS, OURS, Result, lone_s, rates
from .goals import CORES

ENGINES = (OURS, *OTHERS)
COMMAND = 'make bench ARGS="--only peers"'


def page(result: Result) -> str:
    """Return what was compared, the figures of each engine, and what was left out."""
    peers = result["peers"]
    versions = ", ".join(f"{name} {version}" for name, version in peers["versions"].items())
    parts = [
        f"{when_and_where(result)}, rounds: {result['rounds']}. {versions}.",
        f"{peers['checkpoint']}, {peers['texts']} texts with {peers['tokens']:,} tokens. "
        "Medians; in brackets the lowest and highest round.",
        targets(result, PEER_TARGETS),
        table(
            (
                "",
                *(f"tokens/s, {cores}" for cores in CORES.values()),
                "batches",
                "largest difference",
            ),
            _speeds(result),
        ),
        table(
            (
                "a lone text of",
                *(f"{t} tokens, {n} thread{'s'[: n - 1]}" for t in (16, 64) for n in CORES),
            ),
            _lone(result),
        ),
    ]
    if peers["left_out"]:
        parts.append(f"Not on this processor: {', '.join(peers['left_out'])}.")
    return "\n\n".join(parts)


def summary(result: Result) -> str:
    """Return the table of the README: tokens per second on one core and on two."""
    peers = result["peers"]
    rows = (
        (precision, *(_on_both(result, name, precision) for name in ENGINES))
        for precision, records in peers["precisions"].items()
        if records
    )
    return table(("tokens/s, one core / two cores", *ENGINES), rows)


def when_and_where(result: Result) -> str:
    """Return the day and the machine of a result."""
    machine = result["machine"]
    return f"{result['taken_at']}, {in_words(machine)} ({machine['instructions']})"


def _speeds(result: Result) -> Iterator[Sequence[object]]:
    for precision, name, record in _records(result):
        cores = [figure(rates(result, name, precision, int(number))) for number in record["cores"]]
        chosen = " / ".join(_in_words(of) for of in record["cores"].values())
        trained, _ = record["deviation"].values()
        yield (
            f"{precision}, {name}",
            *cores,
            *("–" for _ in range(len(CORES) - len(cores))),
            chosen,
            f"{trained['max_score_difference']:.1e}",
        )


def _lone(result: Result) -> Iterator[Sequence[object]]:
    for precision, name, record in _records(result):
        yield (
            f"{precision}, {name}, ms",
            *(
                figure([1e3 * s for s in lone_s(result, name, precision, tokens, threads)])
                if str(threads) in record["lone_s"][str(tokens)]
                else "–"
                for tokens in (16, 64)
                for threads in CORES
            ),
        )


def _records(result: Result) -> Iterator[tuple[str, str, Result]]:
    for precision, records in result["peers"]["precisions"].items():
        for name, record in records.items():
            yield precision, name, record


def _on_both(result: Result, name: str, precision: str) -> str:
    record = result["peers"]["precisions"][precision].get(name)
    if record is None:
        return "–"
    medians = (figure(rates(result, name, precision, int(n))).median for n in record["cores"])
    return " / ".join(map(digits, medians))


def _in_words(of: Result) -> str:
    lanes, threads = of["division"]
    if lanes > 1:
        return f"{of['way']}, {lanes} at a time"
    return f"{of['way']}, {threads} threads" if threads > 1 else str(of["way"])
