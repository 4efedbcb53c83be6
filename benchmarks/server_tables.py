"""Tables of starts, of memory, and of a call on an idle server. Pure."""

from collections.abc import Sequence

from .figures import Figure, digits, figure
from .markdown import table
from .measures import Result, shares_left
from .plan import BARE_IMPORT


def memory(result: Result) -> str:
    """Return the memory of server and worker together, at rest after calls."""
    taken = result["memory"]
    rows = [("weights on disk, float32", digits(taken["weights_bytes"] / 1e6))]
    rows += [(name, digits(total / 1e6)) for name, total in taken["total_bytes"].items()]
    small = {"embedded": "the embedded checkpoint", "further": "a further tiny model"}
    rows += [(small[kind], digits(total / 1e6)) for kind, total in taken["small_bytes"].items()]
    return table(("BERT-base, and small models", "MB"), rows)


def starts(result: Result) -> str:
    """Return the seconds of starts, of a worker's return, and of loading a model."""
    taken = result["start"]
    rows = [(f"`{BARE_IMPORT}`", figure(taken["import_s"]))]
    rows += [
        (f"{checkpoint}, {which} start", figure(taken[checkpoint][f"{which}_s"]))
        for checkpoint in ("embedded", "bert-base")
        for which in ("first", "second")
    ]
    rows += [
        ("reading BERT-base's weights", figure(taken["read_s"])),
        ("BERT-base's worker killed, until a call is answered", figure(taken["back_s"])),
        ("loading a second, tiny model", figure(taken["load_s"])),
    ]
    return table(("", "s"), rows)


def lone(taken: Result) -> str:
    """Return where the time of a call goes, and the processor time of each process."""

    def ms(field: str, rounds: Sequence[Result]) -> Figure:
        return figure([1e3 * each[field] for each in rounds])

    def processor_ms(process: str, rounds: Sequence[Result]) -> Figure:
        return figure([1e3 * each["processor_s"][process] for each in rounds])

    served, echo = taken["served"], taken["echo"]
    rows = [
        ("forward pass", ms("inference_s", served)),
        ("all but the forward pass", ms("over_s", served)),
        ("client, gRPC and its threads", ms("grpc_s", served)),
        ("tokenizing", ms("tokenize_s", served)),
        ("queue and way to the worker", ms("queue_s", served)),
        ("way back, and the response", ms("rest_s", served)),
        ("an echo with a pause like the pass, less the pause", ms("over_s", echo)),
        ("processor time, server", processor_ms("server", served)),
        ("processor time, client", processor_ms("load", served)),
        ("processor time, echo", processor_ms("server", echo)),
    ]
    return table((f"{taken['checkpoint']}, a call of 16 tokens", "ms"), rows)


def left(record: Result) -> str:
    """Return the processor time of each process, and the shares of the echo's rate."""
    [entry] = record["calls"]

    def us(process: str, rounds: Sequence[Result]) -> Figure:
        return figure([1e6 * each["processor_s"][process] for each in rounds])

    shares = shares_left(record)
    rows = [
        ("server, us", us("server", entry["rounds"])),
        ("worker, us", us("workers", entry["rounds"])),
        ("client, us", us("load", entry["rounds"])),
        ("echo, us", us("server", entry["echo"])),
        ("client of the echo, us", us("load", entry["echo"])),
        ("share of the echo's rate", figure([share for share, _ in shares])),
        ("share that the model leaves", figure([left for _, left in shares])),
    ]
    return table(("unary at 32 in flight, processor time of a call", ""), rows)
