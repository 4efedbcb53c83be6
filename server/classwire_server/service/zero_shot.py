"""ZeroShotClassify: labels that the caller makes up, as hypotheses about a text."""

from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Self

import numpy as np

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire_server.errors import BadLogits, RequestError
from classwire_server.registry.registry import ServedModel
from classwire_server.rpc.call import Call
from classwire_server.rpc.status import request_error
from classwire_server.scheduling.batch import Priority
from classwire_server.scoring import Activation, activated, best
from classwire_server.tokenization import Fit, PairTemplate, Text, Tokenized
from classwire_server.windows import Aggregation, WindowPlan

from .answers import answers_of, count, traits_of, window_logits
from .items import Item, run
from .options import PRIORITIES, bad_option, parse_aggregation, parse_fit, parse_min_score
from .requests import check_size, check_string, too_many_windows, windows_of
from .responses import model_ref, timing_of
from .tasks import EntailmentLabels, pairs_of, unsuitable

TEMPLATE = "This example is {}."
MAX_BYTES = 512
"""Maximum size of the template and of each candidate."""


@dataclass(frozen=True)
class ZeroShotOptions:
    """The options of a call, with every default filled in."""

    template: str
    multi_label: bool
    top_k: int
    min_score: float | None
    fit: Fit
    aggregation: Aggregation
    priority: Priority

    @classmethod
    def parse(cls, options: pb.ZeroShotOptions, model: ServedModel) -> Self:
        """Check the options. Raises RequestError UNKNOWN_ENUM or BAD_OPTION, naming the field."""
        template = options.hypothesis_template or TEMPLATE
        if template.count("{}") != 1:
            raise bad_option("options.hypothesis_template", "does not have exactly one {}")
        if len(template.encode()) > MAX_BYTES:
            raise bad_option("options.hypothesis_template", f"has more than {MAX_BYTES} bytes")
        default = Aggregation.MAX_SCORE if options.multi_label else Aggregation.MEAN_LOGITS
        return cls(
            template,
            options.multi_label,
            options.top_k,
            parse_min_score(options, Activation.SOFTMAX, "options"),
            parse_fit(options, model, "options."),
            parse_aggregation(options, default, "options."),
            PRIORITIES.get(options.priority, Priority.INTERACTIVE),
        )


@dataclass(frozen=True, eq=False)
class ZeroShotRequest:
    """The pairs of a text with the hypothesis of each candidate, of which only the text may be
    cut.
    """

    model: ServedModel
    options: ZeroShotOptions
    template: PairTemplate
    labels: EntailmentLabels
    text: str
    candidates: Sequence[str]

    @classmethod
    def parse(cls, message: pb.ZeroShotClassifyRequest, model: ServedModel) -> Self:
        """Check a request. Raises RequestError, naming the field."""
        template, labels = pairs_of(model), EntailmentLabels.of(model.checkpoint.labels)
        if labels is None:
            raise unsuitable("it has no entailment label")
        candidates = message.candidate_labels
        options = ZeroShotOptions.parse(message.options, model)
        if labels.contradiction is None and (options.multi_label or len(candidates) == 1):
            raise unsuitable("it has no contradiction label")
        _check_candidates(candidates, model.limits.max_texts_per_call)
        check_string(message.text, model.limits.max_text_bytes, "text")
        return cls(model, options, template, labels, message.text, candidates)

    @property
    def priority(self) -> Priority:
        """Which work goes first."""
        return self.options.priority

    def encode(self) -> list[Tokenized]:
        """The input of each pair. The longest hypothesis lays the windows of all.

        Raises RequestError if a pair is too long, or if they have more windows than a call may.
        """
        tokenization, fit = self.model.tokenization, self.options.fit
        hypotheses = [self.options.template.replace("{}", each) for each in self.candidates]
        text, *plain = map(_ids, tokenization.encode_plain([self.text, *hypotheses]))
        longest = max(range(len(plain)), key=lambda place: len(plain[place]))

        def encoded(place: int) -> Tokenized:
            ids = plain[place]
            pair = self.template.pair(text, ids, 0, Text(self.text, hypotheses[place]))
            spare = len(plain[longest]) - len(ids) if isinstance(fit, WindowPlan) else 0
            outcome = tokenization.fit_pair(pair, fit, spare)
            if isinstance(outcome, RequestError) and outcome.field == "text_pair":
                outcome.field = f"candidate_labels[{place}]"
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        first = encoded(longest)
        windows, limit = windows_of(first) * len(plain), self.model.limits.max_windows_per_call
        if windows > limit:
            raise too_many_windows(windows, limit, "candidate_labels", [first])
        return [encoded(place) for place in range(len(plain))]


def _ids(plain: Sequence[int] | Exception) -> Sequence[int]:
    if isinstance(plain, Exception):
        raise plain
    return plain


def _check_candidates(candidates: Sequence[str], most: int) -> None:
    if not candidates:
        raise bad_option("candidate_labels", "are none")
    check_size(len(candidates), most, "candidate_labels", "candidates")
    seen: set[str] = set()
    for place, candidate in enumerate(candidates):
        field = f"candidate_labels[{place}]"
        check_string(candidate, MAX_BYTES, field)
        if candidate in seen:
            raise RequestError(Reason.BAD_OPTION, "the candidate is repeated", field=field)
        seen.add(candidate)


def zero_shot(request: ZeroShotRequest, call: Call) -> pb.ZeroShotClassifyResponse:
    """Score the candidates. Raises the error of the first pair that failed."""
    model, options = request.model, request.options
    items = run(request, call)
    failed = next((item.error for item in items if item.error is not None), None)
    values = None
    if failed is None:
        values = _scores(items, request)
        if np.isnan(values).any():
            failed = items[0].error = request_error(BadLogits())
    count(model, items)
    if isinstance(failed, CancelledError):
        raise failed
    if failed is not None or values is None:
        raise request_error(failed or BadLogits())
    result = pb.ZeroShotClassification(
        token_count=sum(item.tokens for item in items),
        truncated_tokens=max(item.encoding.truncated_tokens for item in items),
        window_count=len(items[0].parts),
    )
    for place in best(values, options.top_k, options.min_score):
        label = request.candidates[place]
        result.scores.add(label=label, index=place, score=values[place])
    return pb.ZeroShotClassifyResponse(
        result=result, model=model_ref(model, traits_of(items)), timing=timing_of(items)
    )


def _scores(items: Sequence[Item], request: ZeroShotRequest) -> np.ndarray:
    """The score of each candidate, NaN if a logit is: (candidates,)."""
    options = request.options
    if options.aggregation is Aggregation.MEAN_LOGITS:
        logits, _ = answers_of(items, Activation.IDENTITY, options.aggregation)
        of_windows = logits[np.newaxis]  # (1, candidates, labels)
    else:
        # (windows, candidates, labels)
        of_windows = np.stack([window_logits(item) for item in items], axis=1)
    values = candidate_scores(of_windows, request.labels, multi_label=options.multi_label)
    highest: np.ndarray = values.max(axis=0)
    if np.isnan(of_windows).any():
        highest[:] = np.nan
    return highest.astype(np.float32)


def candidate_scores(
    logits: np.ndarray, labels: EntailmentLabels, *, multi_label: bool
) -> np.ndarray:
    """The scores of candidates, as transformers' pipeline has them, in float64: (..., candidates,
    labels) -> (..., candidates).
    """
    entailment = logits[..., labels.entailment]
    if not multi_label and logits.shape[-2] > 1:
        return activated(entailment, Activation.SOFTMAX)
    if labels.contradiction is None:
        raise ValueError("the model has no contradiction label")
    of_both = np.stack([logits[..., labels.contradiction], entailment], axis=-1)
    return activated(of_both, Activation.SOFTMAX)[..., 1]
