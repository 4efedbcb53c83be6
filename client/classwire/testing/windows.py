"""The windows of the fake server, whose tokens are words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import grpc

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb

from .failures import Failure


@dataclass(frozen=True, slots=True)
class Window:
    """One window: where it is in the text, and what it holds as a text of its own."""

    start: int
    end: int
    sequence_index: int
    token_count: int
    given: pb.TextInput

    def message(self, scores: tuple[float, ...] = ()) -> pb.TextWindow:
        """The window as clients see it."""
        return pb.TextWindow(
            start=self.start,
            end=self.end,
            sequence_index=self.sequence_index,
            token_count=self.token_count,
            scores=scores,
        )


def in_force(
    options: pb.ClassifyOptions | pb.TokenizeRequest | pb.RankOptions | pb.ZeroShotOptions,
    default: pb.Truncation.ValueType,
    context: grpc.ServicerContext,
) -> bool:
    """Whether texts are read in windows. Aborts a call with window options where they are not."""
    if (options.truncation or default) == pb.TRUNCATION_WINDOWS:
        return True
    includes = isinstance(options, pb.ClassifyOptions) and options.include_windows
    if includes or options.HasField("windows"):
        Failure(Reason.BAD_OPTION).abort(context, "options.windows")
    return False


def windows(given: pb.TextInput, options: pb.WindowOptions, max_tokens: int) -> Iterator[Window]:
    """Yield the windows of a text; of a pair those of the longer text, with the other whole."""
    texts = [given.text, given.text_pair]
    words = [list(re.finditer(r"\S+", text)) for text in texts]
    longer = int(len(words[1]) > len(words[0]))
    whole, tokens = len(words[1 - longer]), words[longer]
    room = max((options.window_tokens or max_tokens) - whole, 1)
    asked = options.overlap_tokens if options.HasField("overlap_tokens") else room // 4
    step = room - min(asked, room // 2)
    spare = max(len(tokens) - room, 0)
    for number in range(1 + math.ceil(spare / step)):
        read = tokens[min(number * step, spare) :][:room]
        if not read:
            continue
        start, end = read[0].start(), read[-1].end()
        part = pb.TextInput()
        part.CopyFrom(given)
        setattr(part, "text_pair" if longer else "text", texts[longer][start:end])
        yield Window(start, end, longer, whole + len(read), part)
