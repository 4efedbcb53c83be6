"""Tokens, spans and truncation against transformers' own tokenizer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import transformers

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.server import Server
from tests.contract.conftest import Classify
from tests.contract.engines import PATIENCE_S, FakeEngine

ARCHITECTURES = ("bert", "roberta", "xlm-roberta", "distilbert", "modernbert")
TEXT = "I really lo\u0301ve 这本书 \U0001f600\U0001f469\u200d\U0001f467, naïve café!  [SEP] ﬁn."
PAIR = "El libro es bueno 😀 and  cheap"
UNITS: dict[pb.OffsetUnit.ValueType, str] = {
    pb.OFFSET_UNIT_UNSPECIFIED: "utf-32-le",
    pb.OFFSET_UNIT_UNICODE: "utf-32-le",
    pb.OFFSET_UNIT_UTF8: "utf-8",
    pb.OFFSET_UNIT_UTF16: "utf-16-le",
}
SIZES = {"utf-32-le": 4, "utf-8": 1, "utf-16-le": 2}

Tokenize = Callable[..., pb.TokenizeResponse]


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    """Each kind of tokenizer."""
    return str(request.param)


@pytest.fixture
def folder(checkpoint: Callable[..., Path], architecture: str) -> Path:
    """A checkpoint of the architecture."""
    return checkpoint(architecture)


@pytest.fixture
def tokenizer(folder: Path) -> Any:
    """The tokenizer that transformers itself makes of the checkpoint."""
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def tokenize(
    fake: Callable[..., Server], connect: Callable[[str], grpc.Channel], folder: Path
) -> Tokenize:
    """Tokenizes by a server of the checkpoint."""
    stub = ClassifyServiceStub(connect(fake(FakeEngine(), model=(f"m={folder}",)).target))

    def call(text: str, text_pair: str | None = None, **fields: Any) -> pb.TokenizeResponse:
        request = pb.TokenizeRequest(input=pb.TextInput(text=text, text_pair=text_pair), **fields)
        return stub.Tokenize(request, timeout=PATIENCE_S)

    return call


def ids(tokens: Any) -> list[int]:
    """The ids of tokens."""
    return [token.id for token in tokens]


@pytest.mark.parametrize("text_pair", [None, PAIR])
def test_transformers_tokens(
    tokenizer: Any, tokenize: Tokenize, architecture: str, text_pair: str | None
) -> None:
    """Ids, texts, special flags, types, mask and spans equal those of transformers."""
    expected = tokenizer(
        TEXT,
        text_pair,
        return_special_tokens_mask=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )

    answer = tokenize(TEXT, text_pair)

    tokens = answer.tokens
    assert ids(tokens) == expected["input_ids"]
    assert [token.text for token in tokens] == tokenizer.convert_ids_to_tokens(
        expected["input_ids"]
    )
    assert [int(token.special) for token in tokens] == expected["special_tokens_mask"]
    assert list(answer.attention_mask) == expected["attention_mask"]
    takes_types = architecture == "bert"
    types = expected["token_type_ids"] if takes_types else [0] * len(tokens)
    assert [token.token_type_id for token in tokens] == types
    assert [(token.start, token.end) for token in tokens] == expected["offset_mapping"]
    assert answer.truncated_tokens == 0


def test_sequence_index(tokenizer: Any, tokenize: Tokenize) -> None:
    """1 marks the second text; a special token has the index of the text that it closes."""
    tokens = tokenize(TEXT, PAIR).tokens

    indices = [token.sequence_index for token in tokens]
    sequences = tokenizer(TEXT, PAIR).sequence_ids()
    assert indices == sorted(indices)
    assert [i for i, own in zip(indices, sequences, strict=True) if own is not None] == [
        own for own in sequences if own is not None
    ]
    assert (indices[0], indices[-1]) == (0, 1)
    first_of_pair = sequences.index(1)
    assert set(indices[:first_of_pair]) == {0}


@pytest.mark.parametrize("unit", UNITS, ids=pb.OffsetUnit.Name)
def test_spans(tokenize: Tokenize, tokenizer: Any, unit: pb.OffsetUnit.ValueType) -> None:
    """A span covers the same part of the text in each unit."""
    codec = UNITS[unit]
    expected = tokenizer(TEXT, PAIR, return_offsets_mapping=True)

    tokens = tokenize(TEXT, PAIR, offset_unit=unit).tokens

    encoded = [text.encode(codec) for text in (TEXT, PAIR)]
    for token, (start, end) in zip(tokens, expected["offset_mapping"], strict=True):
        if token.special:
            assert (token.start, token.end) == (0, 0)
            continue
        size = SIZES[codec]
        piece = encoded[token.sequence_index][token.start * size : token.end * size]
        assert piece.decode(codec) == (TEXT, PAIR)[token.sequence_index][start:end]


def test_units_differ(tokenize: Tokenize, architecture: str) -> None:
    """After an emoji spans differ: 1 code point, 2 units of UTF-16, 4 bytes of UTF-8."""
    ends = {
        unit: max(token.end for token in tokenize("😀 good", offset_unit=unit).tokens)
        for unit in UNITS
    }

    assert [ends[unit] for unit in UNITS] == [6, 6, 9, 7]


LONG = " ".join(f"book {index}" for index in range(400))
SHORT = "The hotel room was clean"


@pytest.mark.parametrize(
    ("truncation", "side"), [(pb.TRUNCATION_DROP_END, "right"), (pb.TRUNCATION_DROP_START, "left")]
)
@pytest.mark.parametrize(
    ("text", "text_pair"),
    [(LONG, None), (LONG, SHORT), (SHORT, LONG), (LONG, LONG[2_000:])],
    ids=["single", "long first", "long second", "both long"],
)
def test_truncation(
    tokenizer: Any,
    tokenize: Tokenize,
    truncation: pb.Truncation.ValueType,
    side: str,
    text: str,
    text_pair: str | None,
) -> None:
    """The remaining tokens equal those of transformers; the longer text of a pair loses first."""
    whole = tokenizer(text, text_pair)["input_ids"]
    tokenizer.truncation_side = side
    expected = tokenizer(text, text_pair, truncation="longest_first", max_length=512)

    answer = tokenize(text, text_pair, truncation=truncation)

    assert ids(answer.tokens) == expected["input_ids"]
    assert len(answer.tokens) == 512
    assert answer.truncated_tokens == len(whole) - 512


def test_classify_sees_what_tokenize_shows(
    classifier: ClassifyServiceStub, classify: Classify
) -> None:
    """Classify returns the tokens and counts of Tokenize."""
    for text, pair, truncation in (
        (TEXT, None, pb.TRUNCATION_UNSPECIFIED),
        (TEXT, PAIR, pb.TRUNCATION_UNSPECIFIED),
        (LONG, PAIR, pb.TRUNCATION_DROP_END),
        (LONG, PAIR, pb.TRUNCATION_DROP_START),
    ):
        for unit in UNITS:
            result = classify(
                text, pair, include_tokens=True, truncation=truncation, offset_unit=unit
            ).result
            shown = classifier.Tokenize(
                pb.TokenizeRequest(
                    input=pb.TextInput(text=text, text_pair=pair),
                    truncation=truncation,
                    offset_unit=unit,
                ),
                timeout=PATIENCE_S,
            )
            assert result.tokens == shown.tokens
            assert result.token_count == len(shown.tokens)
            assert result.truncated_tokens == shown.truncated_tokens


@pytest.mark.parametrize("setting", ["reject", "drop_end", "drop_start"])
def test_the_servers_truncation(
    fake: Callable[..., Server], connect: Callable[[str], grpc.Channel], setting: str
) -> None:
    """A call without a truncation gets the server's setting, a call with one gets its own."""
    stub = ClassifyServiceStub(connect(fake(FakeEngine(), truncation=setting).target))

    def shown(truncation: pb.Truncation.ValueType) -> list[int] | str:
        request = pb.TokenizeRequest(input=pb.TextInput(text=LONG), truncation=truncation)
        try:
            return ids(stub.Tokenize(request, timeout=PATIENCE_S).tokens)
        except grpc.RpcError:
            return "rejected"

    by_name = {
        "reject": shown(pb.TRUNCATION_REJECT),
        "drop_end": shown(pb.TRUNCATION_DROP_END),
        "drop_start": shown(pb.TRUNCATION_DROP_START),
    }
    assert by_name["reject"] == "rejected"
    assert by_name["drop_end"] != by_name["drop_start"]
    assert shown(pb.TRUNCATION_UNSPECIFIED) == by_name[setting]
