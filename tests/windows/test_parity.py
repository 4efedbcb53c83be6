"""Windows over the wire equal those of a reference in transformers."""

from collections.abc import Callable

import pytest
import torch

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from tests.contract.engines import PATIENCE_S
from tests.parity.direct import Direct
from tests.parity.wire import scores_by_id
from tests.windows.reference import windows

TOLERANCE = 1e-5
LONG = "I really love this book, and the one before it was good as well. It crashed twice! " * 3
SHORT = "Is the book good?"
CASES = {
    "default overlap": ((LONG,), 40, None),
    "no overlap": ((LONG,), 40, 0),
    "half of the room": ((LONG,), 41, 20),
    "all tokens of the model": ((LONG * 12,), 0, None),
    "a pair": ((LONG, SHORT), 48, None),
    "a pair, its second text longer": ((SHORT, LONG), 48, 7),
}


@pytest.mark.parametrize("model", ["bert", "nli", "modernbert", "gpt2"])
@pytest.mark.parametrize(("texts", "size", "overlap"), CASES.values(), ids=CASES)
def test_windows(
    stub: ClassifyServiceStub,
    direct: Callable[[str], Direct],
    model: str,
    texts: tuple[str, ...],
    size: int,
    overlap: int | None,
) -> None:
    """Both aggregations, the scores of each window and its tokens are those of the reference, on a
    BERT, a RoBERTa (nli), a ModernBERT and a decoder.
    """
    expected = windows(direct(model), texts, size or 512, overlap)
    per_window = expected.logits.softmax(-1)
    assert len(per_window) > 1

    def classify(aggregation: pb.WindowAggregation.ValueType) -> pb.Classification:
        options = pb.ClassifyOptions(
            truncation=pb.TRUNCATION_WINDOWS,
            windows=pb.WindowOptions(
                window_tokens=size, overlap_tokens=overlap, aggregation=aggregation
            ),
            include_windows=True,
            include_logits=True,
        )
        pair = texts[1] if len(texts) > 1 else None
        request = pb.ClassifyRequest(
            input=pb.TextInput(text=texts[0], text_pair=pair), model=model, options=options
        )
        return stub.Classify(request, timeout=PATIENCE_S).result

    mean = classify(pb.WINDOW_AGGREGATION_UNSPECIFIED)
    highest = classify(pb.WINDOW_AGGREGATION_MAX_SCORE)

    def close(found: object, wanted: torch.Tensor) -> bool:
        return torch.allclose(torch.tensor(found).double(), wanted, rtol=0, atol=TOLERANCE)

    assert mean.aggregation == pb.WINDOW_AGGREGATION_MEAN_LOGITS
    assert close(list(mean.logits), expected.mean)
    assert close(scores_by_id(mean), expected.mean.softmax(-1))
    assert highest.aggregation == pb.WINDOW_AGGREGATION_MAX_SCORE
    assert close(scores_by_id(highest), per_window.max(0).values)
    chosen = expected.logits.gather(0, per_window.argmax(0, keepdim=True))[0]
    assert close(list(highest.logits), chosen)
    for result in (mean, highest):
        assert result.window_count == len(result.windows) == len(per_window)
        assert result.token_count == sum(expected.token_counts)
        assert result.truncated_tokens == 0
        assert [window.token_count for window in result.windows] == expected.token_counts
        assert close([list(window.scores) for window in result.windows], per_window)


def test_the_scores_of_windows_have_the_bits_of_texts(stub: ClassifyServiceStub) -> None:
    """A text that fits has the same scores with windows as without, bit for bit."""
    text = pb.TextInput(text=LONG)

    def classify(options: pb.ClassifyOptions) -> pb.Classification:
        request = pb.ClassifyRequest(input=text, options=options)
        return stub.Classify(request, timeout=PATIENCE_S).result

    plain = classify(pb.ClassifyOptions(include_logits=True))
    fits = classify(
        pb.ClassifyOptions(
            include_logits=True, truncation=pb.TRUNCATION_WINDOWS, include_windows=True
        )
    )

    assert fits.logits == plain.logits
    assert fits.scores == plain.scores
    assert (fits.window_count, fits.aggregation) == (1, pb.WINDOW_AGGREGATION_UNSPECIFIED)
    assert plain.window_count == 1
    [window] = fits.windows
    assert (window.start, window.end) == (0, len(LONG.rstrip()))
    assert list(window.scores) == scores_by_id(fits)
    assert window.token_count == fits.token_count
