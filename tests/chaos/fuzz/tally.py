"""What came of all that was sent."""

import threading
from collections import Counter
from collections.abc import Iterable, Sequence

import grpc
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire_server.open_inference import inference_pb2 as oip

INPUT_REASONS: Sequence[Reason] = (
    Reason.EMPTY_TEXT,
    Reason.TEXT_TOO_LARGE,
    Reason.TOO_MANY_TOKENS,
    Reason.UNKNOWN_ENUM,
    Reason.BAD_OPTION,
    Reason.TOO_MANY_ITEMS,
    Reason.BAD_ID,
    Reason.BAD_STREAM_START,
    Reason.BAD_ENCODING,
    Reason.UNKNOWN_MODEL,
)
"""All that a caller can do wrong."""

EXPECTED = {*map(str, INPUT_REASONS), "OK", "answered", str(Reason.EXPIRED_IN_QUEUE)}
UNKNOWN_SERVICE = "Check", "NOT_FOUND"
"""The health service's error for unknown services, without a reason of the contract."""
FRAMES = "frames"
TRANSPORTS = "parsing http/2", "metadata", "header key", "compression bit", "decompress"
"""Words of gRPC's own core, when it can make nothing of what came."""
MOST_SHOWN = 20
LEAST_PARSED = 0.9
"""Messages that do not even parse find out nothing."""


class Tally:
    """Counts messages, frames and answers by kind. Safe for use by any thread."""

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        self.parsed: Counter[str] = Counter()
        self.answers: Counter[tuple[str, str]] = Counter()
        self.frames: Counter[str] = Counter()
        self.wrongs: list[str] = []
        self._lock = threading.Lock()  # guards all of the above

    def sent(self, rpc: str, parses: Iterable[bool]) -> None:
        """Count messages of a call, and those that are messages indeed."""
        each = list(parses)
        with self._lock:
            self.messages[rpc] += len(each)
            self.parsed[rpc] += sum(each)

    def sent_frames(self, kind: str, frames: int) -> None:
        """Count frames."""
        with self._lock:
            self.frames[kind] += frames

    def answered(self, rpc: str, answer: str, where: str) -> None:
        """Count an answer, and whether it is one that callers may get; `where` finds it again."""
        with self._lock:
            self.answers[rpc, answer] += 1
        if answer not in EXPECTED and (rpc, answer) != UNKNOWN_SERVICE:
            self.wrong(f"{rpc} {where}: {answer}")

    def told(self, code: str, message: str, is_ours: bool, where: str) -> None:
        """Count a status that answered frames, with who speaks in it.

        gRPC itself says INTERNAL, as it has to, of what is no HTTP/2 or no framing of messages.
        """
        is_transports = not is_ours and any(words in message.lower() for words in TRANSPORTS)
        whose = "ours" if is_ours else "of the transport" if is_transports else "gRPC's own"
        with self._lock:
            self.answers[FRAMES, f"{code}, {whose}"] += 1
        if code in ("UNKNOWN", "INTERNAL") and not is_transports:
            self.wrong(f"{where}: {code}, {message}")

    def wrong(self, what: str) -> None:
        """Note what must not be."""
        with self._lock:
            if len(self.wrongs) < MOST_SHOWN:
                self.wrongs.append(what)

    @property
    def parsed_share(self) -> float:
        """Which share of the messages were messages."""
        return self.parsed.total() / max(1, self.messages.total())

    def unreached(self) -> list[str]:
        """The reasons for which nothing was refused."""
        reached = {answer for _, answer in self.answers}
        return [str(reason) for reason in INPUT_REASONS if reason not in reached]

    def table(self) -> str:
        """All counts, as a table of Markdown."""
        rows = ["| RPC | messages | parsed | answers |", "|---|---|---|---|"]
        for rpc, messages in sorted(self.messages.items()):
            answers = sorted(
                (answer, count) for (name, answer), count in self.answers.items() if name == rpc
            )
            listed = ", ".join(f"{answer} {count:,}" for answer, count in answers)
            rows.append(f"| {rpc} | {messages:,} | {self.parsed[rpc] / messages:.1%} | {listed} |")
        rows += ["", "| frames | |", "|---|---|"]
        rows += [f"| {kind} | {count:,} |" for kind, count in sorted(self.frames.items())]
        rows += ["", "| statuses that answered frames | |", "|---|---|"]
        rows += [
            f"| {answer} | {count:,} |"
            for (name, answer), count in sorted(self.answers.items())
            if name == FRAMES
        ]
        return "\n".join(rows)


def answer_of(error: grpc.RpcError) -> str:
    """The reason of an error, or its bare code where it has none."""
    assert isinstance(error, grpc.Call)
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info):
            return str(info.reason)
    return error.code().name


def item_answers(response: object) -> list[str]:
    """What each text of a response came to: its reason, or `answered`."""
    if isinstance(response, pb.BatchClassifyResponse):
        outcomes = list(response.outcomes)
    elif isinstance(response, pb.StreamClassifyResponse):
        outcomes = [result.outcome for result in response.results.results]
    elif isinstance(response, oip.ModelStreamInferResponse):
        return [response.error_message.partition(":")[0] or "answered"]
    else:
        return []
    return [outcome.error.reason or "answered" for outcome in outcomes]
