"""Ray Data next to one server's stream, as Markdown. Pure."""

from benchmarks.figures import figure
from benchmarks.markdown import table
from benchmarks.measures import Result
from benchmarks.tables import setting, targets
from benchmarks.targets import RAY_TARGETS

from .figures import share


def page(result: Result) -> str:
    """Return the target, and the rates of both."""
    taken = result["ray"]
    checkpoint = taken["checkpoint"]
    rates = (figure(taken["server"]), figure(taken["job"]), share(result, checkpoint))
    head = ("float32, tokens/s", "one server's stream", "Ray Data", "Ray Data ÷ server")
    return "\n\n".join(
        (
            f"{result['taken_at']}, {setting(result)}",
            targets(result, RAY_TARGETS),
            f"{taken['texts']} texts of real lengths, on cores {taken['cores']}. The job has an "
            "actor for each core, and its rate is that while all actors work. The server shares "
            "the cores with its caller. They take turns.",
            table(head, [(checkpoint, *rates)]),
        )
    )
