"""The findings of a run as Markdown. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.checkpoints import Shape
from benchmarks.figures import Figure, digits, figure
from benchmarks.machine import in_words
from benchmarks.markdown import table

from .parts import Finding
from .plan import (
    GOAL_GPU,
    GOAL_LONE_MS,
    GOAL_SERVED_SHARE,
    GOAL_TOKENS,
    GOAL_TOKENS_PER_S,
    PLANS,
    peak_bf16_flops,
)

Result = dict[str, Any]


def page(result: Result) -> str:
    """Return all tables of a result, however little it has."""
    found: list[Finding] = result["findings"]
    parts = [_heading(result), "## Goals", goals(result)]
    for title, content in (
        ("Engine alone", rates(result)),
        ("Lone texts", lone(found)),
        ("Small batches", small(found)),
        ("Real lengths, with transformers", mixed(found)),
        ("Through gRPC", served(found)),
        ("Ceilings", ceilings(found)),
        ("What the worker chose", chosen(found)),
        ("Kernels", kernels(found)),
    ):
        if content:
            parts += [f"## {title}", content]
    missing = [f"- {name}: {why}" for name, why in result["incomplete"].items()]
    missing += [f"- {each['name']}: {each['why']}" for each in of(found, "missing")]
    if missing:
        parts += ["## Not measured", "\n".join(missing)]
    return "\n\n".join(parts) + "\n"


def of(found: Sequence[Finding], what: str) -> list[Finding]:
    """The findings of one kind."""
    return [finding for finding in found if finding["what"] == what]


def best_rate(found: Sequence[Finding], length: int) -> Figure | None:
    """The best tokens per second of any batch of texts of this length, on one lane."""
    figures = [
        figure(each["tokens_per_s"])
        for each in of(found, "rate")
        if each["length"] == length and each["lanes"] == 1
    ]
    return max(figures, key=lambda each: each.median, default=None)


def served_rate(found: Sequence[Finding], servers: int) -> Figure | None:
    """Tokens per second of all servers together."""
    rounds = [each["tokens_per_s"] for each in of(found, "served") if each["servers"] == servers]
    return figure(rounds) if rounds else None


def goals(result: Result) -> str:
    """Return the goals on an H200, the measured figures, and whether each is met."""
    found = result["findings"]
    has_goals = GOAL_GPU in result["device_name"]

    def rows() -> Iterator[tuple[str, Figure | None, float, bool]]:
        engine = best_rate(found, GOAL_TOKENS)
        yield f"engine, texts of {GOAL_TOKENS} tokens, tokens/s", engine, GOAL_TOKENS_PER_S, False
        lone_ms = [
            each["p50_ms"]
            for each in of(found, "lone")
            if each["tokens"] == GOAL_TOKENS and each["graphs"] == "with"
        ]
        name = f"a lone text of {GOAL_TOKENS} tokens with graphs, ms"
        yield name, figure(lone_ms) if lone_ms else None, GOAL_LONE_MS, True
        rounds = [
            served_rate(found, n) for n in sorted({e["servers"] for e in of(found, "served")})
        ]
        best = max((each.median for each in rounds if each), default=None)
        share = figure([best / engine.median]) if best and engine else None
        name = "through gRPC ÷ engine alone, best number of servers"
        yield name, share, GOAL_SERVED_SHARE, False

    lines = [_goal(*row, has_goals) for row in rows()]
    return table(("", f"goal on an {GOAL_GPU}", "measured", ""), lines)


def _goal(
    name: str, found: Figure | None, bound: float, is_upper: bool, has_goals: bool
) -> Sequence[object]:
    goal = f"{'at most' if is_upper else 'at least'} {digits(bound)}"
    if found is None:
        return name, goal, "not measured", "–"
    is_met = found.median <= bound if is_upper else found.median >= bound
    return name, goal, found, ("met" if is_met else "not met") if has_goals else "–"


def flops_per_token(shape: Shape, length: int) -> float:
    """Operations per token of linear layers, and of attention within texts of one length."""
    return shape.linear_flops_per_token + shape.attention_flops([length]) / length


def rates(result: Result) -> str:
    """Return the engine's rate by length and batch, and its share of the GPU's peak."""
    shape, peak = PLANS[result["plan"]].shape, peak_bf16_flops(result["device_name"])

    def rows() -> Iterator[Sequence[object]]:
        for each in of(result["findings"], "rate"):
            rate = figure(each["tokens_per_s"])
            flops = rate.median * flops_per_token(shape, each["length"])
            yield (
                each["length"],
                each["batch_tokens"],
                each["lanes"],
                rate,
                digits(flops / 1e12),
                digits(flops / peak) if peak else "–",
            )

    found = list(rows())
    head = ("tokens of a text", "tokens of a batch", "lanes", "tokens/s", "TFLOP/s", "of the peak")
    return table(head, found) if found else ""


def lone(found: Sequence[Finding]) -> str:
    """Return times of lone texts, and of captures."""
    rows = [
        (each["tokens"], each["graphs"], digits(each["p50_ms"]), digits(each["p95_ms"]))
        for each in of(found, "lone")
    ]
    if not rows:
        return ""
    notes = [
        f"No graphs: {each['why']}."
        if each["why"]
        else f"Recording all graphs took {each['seconds']:.1f} s."
        for each in of(found, "graphs")
    ]
    calls = [
        f"Through gRPC, one call at a time: {digits(each['p50_ms'])} ms, "
        f"of which the engine {digits(each['engine_p50_ms'])} ms."
        for each in of(found, "lone call")
    ]
    head = ("tokens", "CUDA graphs", "p50, ms", "p95, ms")
    return "\n\n".join([table(head, rows), *notes, *calls])


def small(found: Sequence[Finding]) -> str:
    """Return rates of small batches without and with graphs."""
    rows = [
        (each["batch_tokens"], each["graphs"], figure(each["tokens_per_s"]))
        for each in sorted(of(found, "small"), key=lambda each: each["batch_tokens"])
    ]
    return table(("tokens of a batch", "CUDA graphs", "tokens/s"), rows) if rows else ""


def mixed(found: Sequence[Finding]) -> str:
    """Return rates of real lengths by engine."""
    rows = [(each["engine"], figure(each["tokens_per_s"])) for each in of(found, "mixed")]
    return table(("engine", "tokens/s"), rows) if rows else ""


def served(found: Sequence[Finding]) -> str:
    """Return rates and latencies through gRPC, round by round."""
    rows = [
        (
            each["servers"],
            digits(each["tokens_per_s"]),
            digits(each["p50_ms"]),
            digits(each["mean_batch_texts"]),
            each["failed"],
            ", ".join(each["computed_by"]),
        )
        for each in of(found, "served")
    ]
    head = ("servers", "tokens/s", "p50, ms", "texts of a batch", "failed", "computed by")
    return table(head, rows) if rows else ""


def ceilings(found: Sequence[Finding]) -> str:
    """Return the measured products in bfloat16."""
    rows = [
        (each["name"], figure([rate / 1e12 for rate in each["flops"]]))
        for each in of(found, "ceiling")
    ]
    return table(("bfloat16", "TFLOP/s"), rows) if rows else ""


def chosen(found: Sequence[Finding]) -> str:
    """Return the worker's choices and the time that it took to make them."""
    lines = [f"- {each['name']}: {each['value']} ({each['why']})" for each in of(found, "choice")]
    lines += [f"- time to choose: {each['seconds']:.1f} s" for each in of(found, "selected")]
    return "\n".join(lines)


def kernels(found: Sequence[Finding]) -> str:
    """Return the largest kernels of each profiled pass."""
    tables = []
    for each in of(found, "pass"):
        rows = [
            (f"`{one['kernel']}`", digits(one["us"]), digits(one["launches"]))
            for one in of(found, "kernel")
            if one["batch"] == each["batch"]
        ]
        total = f"{each['batch']}: {digits(each['total_us'])} µs on the device."
        tables.append(total + "\n\n" + table(("kernel", "µs a pass", "launches"), rows))
    return "\n\n".join(tables)


def _heading(result: Result) -> str:
    machine, plan = result["machine"], PLANS[result["plan"]]
    peak = peak_bf16_flops(result["device_name"])
    bound = (
        f" The peak is {digits(peak / 1e12)} TFLOP/s (dense bfloat16, by its datasheet)."
        if peak
        else ""
    )
    return (
        f"# Benchmark of a GPU, {result['plan']}, {result['taken_at']}\n\n"
        f"{result['device_name']}; {in_words(machine)}; Python {machine['python']}, torch "
        f"{machine['torch']}, transformers {result['transformers']}. {plan.shape.name} with random "
        f"weights in {plan.precision.value}. Medians; in brackets the lowest and highest round."
        f"{bound}"
    )
