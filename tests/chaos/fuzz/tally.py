"""Counts of a campaign."""

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
"""All reasons for faults of a caller's input."""

EXPECTED = {*map(str, INPUT_REASONS), "OK", "answered", str(Reason.EXPIRED_IN_QUEUE)}
UNKNOWN_SERVICE = "Check", "NOT_FOUND"
"""The health service's answer for an unknown service, which has no reason of Classwire."""
NO_WINDOWS_LEFT = "BatchClassify", str(Reason.OVERLOADED)
"""The error of texts of a batch behind those that have all windows of a call."""
FRAMES = "frames"
TRANSPORTS = "parsing http/2", "metadata", "header key", "compression bit", "decompress"
"""gRPC's own messages for bytes that it cannot parse."""
MOST_SHOWN = 20
LEAST_PARSED = 0.9
"""Least share of messages that parse: others test only the parser."""


class Tally:
    """Counts messages, frames and answers by kind. Any thread may call any method."""

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        self.parsed: Counter[str] = Counter()
        self.answers: Counter[tuple[str, str]] = Counter()
        self.frames: Counter[str] = Counter()
        self.wrongs: list[str] = []
        self._lock = threading.Lock()  # guards all of the above

    def sent(self, rpc: str, parses: Iterable[bool]) -> None:
        """Count the messages of a call, and those of them that parse."""
        each = list(parses)
        with self._lock:
            self.messages[rpc] += len(each)
            self.parsed[rpc] += sum(each)

    def sent_frames(self, kind: str, frames: int) -> None:
        """Count frames."""
        with self._lock:
            self.frames[kind] += frames

    def answered(self, rpc: str, answer: str, where: str) -> None:
        """Count an answer, and record it as wrong if callers must not get it; `where` reproduces
        it.
        """
        with self._lock:
            self.answers[rpc, answer] += 1
        if answer not in EXPECTED and (rpc, answer) not in (UNKNOWN_SERVICE, NO_WINDOWS_LEFT):
            self.wrong(f"{rpc} {where}: {answer}")

    def answered_frames(self, code: str, message: str, from_classwire: bool, where: str) -> None:
        """Count a status that answered frames, by its sender: Classwire or gRPC.

        gRPC itself sends INTERNAL for invalid HTTP/2 and invalid message framing.
        """
        from_transport = not from_classwire and any(
            words in message.lower() for words in TRANSPORTS
        )
        sender = "Classwire" if from_classwire else "transport" if from_transport else "gRPC"
        with self._lock:
            self.answers[FRAMES, f"{code}, {sender}"] += 1
        if code in ("UNKNOWN", "INTERNAL") and not from_transport:
            self.wrong(f"{where}: {code}, {message}")

    def wrong(self, what: str) -> None:
        """Record a finding."""
        with self._lock:
            if len(self.wrongs) < MOST_SHOWN:
                self.wrongs.append(what)

    @property
    def parsed_share(self) -> float:
        """The share of messages that parse."""
        return self.parsed.total() / max(1, self.messages.total())

    def unreached(self) -> list[str]:
        """Return the reasons with which the server rejected no message."""
        reached = {answer for _, answer in self.answers}
        return [str(reason) for reason in INPUT_REASONS if reason not in reached]

    def table(self) -> str:
        """Return all counts as a Markdown table."""
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
    """Return the reason of an error, or its bare code without one."""
    assert isinstance(error, grpc.Call)
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info):
            return str(info.reason)
    return error.code().name


def item_answers(response: object) -> list[str]:
    """Return the outcome of each text in a response: its reason, or `answered`."""
    if isinstance(response, pb.BatchClassifyResponse):
        outcomes = list(response.outcomes)
    elif isinstance(response, pb.StreamClassifyResponse):
        outcomes = [result.outcome for result in response.results.results]
    elif isinstance(response, pb.RankResponse):
        outcomes = [pb.Outcome(error=failure.error) for failure in response.failures]
    elif isinstance(response, oip.ModelStreamInferResponse):
        return [response.error_message.partition(":")[0] or "answered"]
    else:
        return []
    return [outcome.error.reason or "answered" for outcome in outcomes]
