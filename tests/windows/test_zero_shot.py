"""ZeroShotClassify: the arithmetic of transformers' pipeline, and the errors of its calls."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import transformers

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.service.tasks import EntailmentLabels
from tests.contract.engines import PATIENCE_S
from tests.contract.failures import SECRET, Failure, invalid, refusal
from tests.parity.direct import Direct
from tests.windows.conftest import MAX_TEXTS
from tests.windows.reference import windows
from tests.windows.test_options import words
from tests.windows.test_rank import SENTENCES

CANDIDATES = ["billing", "delivery", "a broken device", "book {} reviews"]


def zero_shot(
    stub: ClassifyServiceStub,
    text: str,
    candidates: Sequence[str],
    model: str = "nli",
    **options: Any,
) -> pb.ZeroShotClassifyResponse:
    """Classify by the shared server."""
    request = pb.ZeroShotClassifyRequest(
        text=text,
        candidate_labels=candidates,
        model=model,
        options=pb.ZeroShotOptions(**options),
    )
    return stub.ZeroShotClassify(request, timeout=PATIENCE_S)


def by_index(answer: pb.ZeroShotClassifyResponse) -> list[float]:
    """The scores in the order of the candidates."""
    return [score.score for score in sorted(answer.result.scores, key=lambda each: each.index)]


@pytest.fixture(scope="module")
def pipelines(direct: Callable[[str], Direct]) -> Callable[[str], Any]:
    """Makes transformers' pipeline for a model by its name."""

    def make(name: str) -> Any:
        loaded = direct(name)
        loaded.model.config.label2id = {
            label: index for index, label in loaded.model.config.id2label.items()
        }
        return transformers.pipeline(
            "zero-shot-classification", model=loaded.model, tokenizer=loaded.tokenizer
        )

    return make


@pytest.mark.parametrize("model", ["nli", "binary"])
def test_parity(stub: ClassifyServiceStub, pipelines: Callable[[str], Any], model: str) -> None:
    """Random texts and candidates have the scores of transformers, with one candidate or several,
    one label or many, and any template.
    """
    pipeline = pipelines(model)
    dice = random.Random(0)
    for _ in range(15):
        text = " ".join(dice.choices(SENTENCES, k=dice.randrange(1, 4)))
        candidates = dice.sample(CANDIDATES[:3], k=dice.randrange(1, 4))
        multi_label = dice.random() < 0.5
        template = dice.choice(["", "It is about {}!", "{}"])
        expected = pipeline(
            text,
            candidates,
            multi_label=multi_label,
            hypothesis_template=template or "This example is {}.",
        )
        scores = dict(zip(expected["labels"], expected["scores"], strict=True))

        answer = zero_shot(
            stub, text, candidates, model, multi_label=multi_label, hypothesis_template=template
        )

        assert {each.label: each.score for each in answer.result.scores} == pytest.approx(
            scores, abs=1e-5
        )
        descending = [each.score for each in answer.result.scores]
        assert descending == sorted(descending, reverse=True)
        assert answer.result.window_count == 1
        assert answer.result.truncated_tokens == 0


def test_counts_and_bounds(stub: ClassifyServiceStub, direct: Callable[[str], Direct]) -> None:
    """Tokens are those of all pairs; top_k and min_score cut the list; the candidate replaces the
    braces as it is.
    """
    whole = zero_shot(stub, SENTENCES[0], CANDIDATES, hypothesis_template="{{}} about")
    tokenizer = direct("nli").tokenizer
    hypotheses = ["{" + candidate + "} about" for candidate in CANDIDATES]

    assert whole.result.token_count == sum(
        len(tokenizer(SENTENCES[0], hypothesis)["input_ids"]) for hypothesis in hypotheses
    )
    assert sum(by_index(whole)) == pytest.approx(1.0, abs=1e-6)
    best = [score.index for score in whole.result.scores]
    top = zero_shot(stub, SENTENCES[0], CANDIDATES, hypothesis_template="{{}} about", top_k=2)
    assert [score.index for score in top.result.scores] == best[:2]
    bound = whole.result.scores[1].score
    bounded = zero_shot(
        stub, SENTENCES[0], CANDIDATES, hypothesis_template="{{}} about", min_score=bound
    )
    assert [score.index for score in bounded.result.scores] == best[:2]
    assert [score.label for score in bounded.result.scores] == [CANDIDATES[i] for i in best[:2]]
    assert whole.model.name == "nli"
    assert whole.timing.batch_texts >= 1


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("aggregation", [0, pb.WINDOW_AGGREGATION_MEAN_LOGITS, 2])
def test_windows(
    stub: ClassifyServiceStub,
    direct: Callable[[str], Direct],
    multi_label: bool,
    aggregation: pb.WindowAggregation.ValueType,
) -> None:
    """The longest hypothesis lays the windows of all; logits are averaged for each pair, or scores
    of all candidates computed in each window, of which the highest counts.
    """
    text = " ".join(SENTENCES)
    hypotheses = [f"This example is {candidate}." for candidate in CANDIDATES]
    tokenizer = direct("nli").tokenizer
    sizes = [len(tokenizer(each, add_special_tokens=False)["input_ids"]) for each in hypotheses]
    room = 80 - 4 - max(sizes)
    references = [
        windows(direct("nli"), (text, each), 80, 3, read=0, room=room) for each in hypotheses
    ]
    answer = zero_shot(
        stub, text, CANDIDATES, multi_label=multi_label, truncation=pb.TRUNCATION_WINDOWS,
        windows=pb.WindowOptions(window_tokens=80, overlap_tokens=3, aggregation=aggregation),
    )  # fmt: skip

    def scores(logits: torch.Tensor) -> torch.Tensor:
        """Scores of (candidates, labels)."""
        if multi_label:
            return logits[:, [0, 2]].softmax(-1)[:, 1]
        return logits[:, 2].softmax(0)

    is_mean = aggregation == 1 or (aggregation == 0 and not multi_label)
    if is_mean:
        expected = scores(torch.stack([each.mean for each in references]))
    else:
        logits = torch.stack([each.logits for each in references], 1)  # (windows, candidates, ...)
        expected = torch.stack([scores(of_window) for of_window in logits]).max(0).values
    assert by_index(answer) == pytest.approx(expected.tolist(), abs=1e-5)
    assert answer.result.window_count == len(references[0].logits) > 1
    assert answer.result.token_count == sum(sum(each.token_counts) for each in references)


def test_only_the_text_is_cut(stub: ClassifyServiceStub, direct: Callable[[str], Direct]) -> None:
    """Truncation takes tokens of the text, for each pair as many as it needs."""
    text = " ".join(SENTENCES * 20)
    tokenizer = direct("nli").tokenizer
    hypotheses = [f"This example is {candidate}." for candidate in CANDIDATES]
    rows = []
    for hypothesis in hypotheses:
        inputs = tokenizer(
            text, hypothesis, truncation="only_first", max_length=512, return_tensors="pt"
        )
        with torch.inference_mode():
            rows.append(direct("nli").model(**inputs).logits[0, 2])
    lost = max(len(tokenizer(text, each)["input_ids"]) for each in hypotheses) - 512

    answer = zero_shot(stub, text, CANDIDATES, truncation=pb.TRUNCATION_DROP_END)

    assert by_index(answer) == pytest.approx(torch.stack(rows).softmax(0).tolist(), abs=1e-5)
    assert answer.result.truncated_tokens == lost
    assert answer.result.token_count == 512 * len(CANDIDATES)


BAD_CALLS: dict[str, tuple[dict[str, Any], Failure]] = {
    "an empty text": ({"text": " "}, invalid("EMPTY_TEXT", "text")),
    "a text that is too large": (
        {"text": "a" * 65_537},
        invalid("TEXT_TOO_LARGE", "text", bytes="65537", max_text_bytes="65536"),
    ),
    "no candidate": ({"candidates": []}, invalid("BAD_OPTION", "candidate_labels")),
    "a blank candidate": (
        {"candidates": ["a", " "]}, invalid("EMPTY_TEXT", "candidate_labels[1]")
    ),
    "a large candidate": (
        {"candidates": ["a", "b" * 513]},
        invalid(
            "TEXT_TOO_LARGE", "candidate_labels[1]", bytes="513", max_text_bytes="512"
        ),
    ),
    "a repeated candidate": (
        {"candidates": [SECRET, "a", SECRET]}, invalid("BAD_OPTION", "candidate_labels[2]")
    ),
    "too many candidates": (
        {"candidates": [str(n) for n in range(MAX_TEXTS + 1)]},
        invalid(
            "TOO_MANY_ITEMS", "candidate_labels",
            items=str(MAX_TEXTS + 1), max_items=str(MAX_TEXTS),
        ),
    ),
    "too many windows": (
        {
            "text": words(100), "candidates": ["a", "b", "c"], "model": "binary",
            "truncation": pb.TRUNCATION_WINDOWS,
            "windows": pb.WindowOptions(window_tokens=40),
        },
        invalid("TOO_MANY_ITEMS", "candidate_labels", items="15", max_items=str(MAX_TEXTS)),
    ),
    **{
        f"the template {template}": (
            {"hypothesis_template": template},
            invalid("BAD_OPTION", "options.hypothesis_template"),
        )
        for template in ("This is it", "{} {}", "{" + SECRET + "}", "{}" * 2, "{}" + "a" * 511)
    },
    **{
        f"min_score {value}": ({"min_score": value}, invalid("BAD_OPTION", "options.min_score"))
        for value in (math.nan, 1.5, -0.5)
    },
    "an unknown truncation": (
        {"truncation": 99}, invalid("UNKNOWN_ENUM", "options.truncation", value="99")
    ),
    "a text that does not fit": (
        {"text": words(600), "model": "binary"},
        invalid("TOO_MANY_TOKENS", "text", tokens="622", max_tokens="512"),
    ),
    "a hypothesis that leaves too little": (
        {
            "text": words(600), "candidates": ["a", "b", words(90)], "model": "binary",
            "hypothesis_template": "{} " + words(100), "truncation": pb.TRUNCATION_WINDOWS,
            "windows": pb.WindowOptions(window_tokens=250),
        },
        invalid("TOO_MANY_TOKENS", "candidate_labels[2]", tokens="793", max_tokens="250"),
    ),
    "a hypothesis that leaves too little of a text to cut": (
        {
            "text": words(600), "candidates": ["a", "a " * 250], "model": "binary",
            "hypothesis_template": "{}" + " a" * 200, "truncation": pb.TRUNCATION_DROP_END,
        },
        invalid("TOO_MANY_TOKENS", "candidate_labels[1]", tokens="1053", max_tokens="512"),
    ),
    "no entailment label": ({"model": "bert"}, invalid("UNSUITABLE_MODEL", "model")),
    "no contradiction for many labels": (
        {"model": "half", "multi_label": True}, invalid("UNSUITABLE_MODEL", "model")
    ),
    "no contradiction for one candidate": (
        {"model": "half", "candidates": ["a"]}, invalid("UNSUITABLE_MODEL", "model")
    ),
    "no pairs": ({"model": "gpt2"}, invalid("UNSUITABLE_MODEL", "model")),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_calls(stub: ClassifyServiceStub, case: str) -> None:
    """A bad text, candidate, option or model ends the call; no error has the caller's text."""
    arguments, expected = BAD_CALLS[case]
    given = {"text": SENTENCES[0], "candidates": ["billing", "delivery"], **arguments}

    assert refusal(lambda: zero_shot(stub, **given)) == expected


def test_no_contradiction_is_needed_for_several_candidates(stub: ClassifyServiceStub) -> None:
    """A model with an entailment label alone compares several candidates."""
    answer = zero_shot(stub, SENTENCES[0], ["billing", "delivery"], "half")

    assert sum(by_index(answer)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("contradiction", "neutral", "entailment"), (2, 0)),
        (("ENTAILMENT", "NEUTRAL", "CONTRADICTION"), (0, 2)),
        (("not_entailment", "entailment"), (1, 0)),
        (("entailed", "no"), (0, 1)),
        (("entailment", "neutral", "no"), (0, None)),
        (("entailment",), (0, None)),
        (("entailment", "Contradicts", "contradiction", "entails"), (0, 1)),
        (("not_entailment", "neutral", "positive"), None),
    ],
)
def test_labels_of_inference(
    labels: tuple[str, ...], expected: tuple[int, int | None] | None
) -> None:
    """Entailment and contradiction are found by how their names begin."""
    assert EntailmentLabels.of(labels) == expected
