"""Text to Encoding: with many threads, and at the limits of the model's length."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers

from classwire_server.errors import ConfigError, RequestError
from classwire_server.tokenization import (
    Encoding,
    OffsetUnit,
    Text,
    Tokenization,
    Truncation,
    Windows,
    python,
    tokens_made,
)
from classwire_server.tokenization.rust import RustTokenizer
from classwire_server.windows import WindowPlan

TEXTS = [Text("I really love this book " * repeats, "or not") for repeats in (1, 3, 30, 200)]


class ReplaceableTokenizer:
    """A Rust tokenizer whose methods a test can replace in a subclass."""

    _load = tokenizers.Tokenizer.from_str

    def __init__(self, rust: Any) -> None:
        self.rust = rust

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rust, name)

    @classmethod
    def from_str(cls, rust_json: str) -> "ReplaceableTokenizer":
        """Load a tokenizer from its tokenizer.json."""
        return cls(cls._load(rust_json))


@pytest.fixture
def rust_json(checkpoint: Callable[..., Path]) -> str:
    """The tokenizer.json of a tiny BERT."""
    return (checkpoint("bert") / "tokenizer.json").read_text()


def tokenization(rust_json: str, max_tokens: int = 32, token_types: bool = True) -> Tokenization:
    """A tokenization that rejects long texts by default."""
    return Tokenization(
        RustTokenizer(rust_json),
        max_tokens=max_tokens,
        uses_token_types=token_types,
        default_truncation=Truncation.REJECT,
    )


def test_threads_do_not_disturb_each_other(rust_json: str, checkpoint: Callable[..., Path]) -> None:
    """Threads that truncate in different ways do not change each other's encodings."""
    shared = tokenization(rust_json)
    reference = transformers.AutoTokenizer.from_pretrained(checkpoint("bert"))

    def expected(text: Text, truncation: Truncation) -> list[int]:
        reference.truncation_side = "left" if truncation is Truncation.DROP_START else "right"
        ids = reference(text.text, text.text_pair, truncation="longest_first", max_length=32)
        return list(ids["input_ids"])

    work = [
        (text, truncation)
        for text in TEXTS
        for truncation in (Truncation.DROP_END, Truncation.DROP_START)
    ] * 50
    with ThreadPoolExecutor(8) as pool:
        ids = pool.map(lambda job: list(shared.encode(job[0], job[1], "").ids), work)
        assert list(ids) == [expected(*job) for job in work]


def test_truncation_and_padding_of_the_checkpoint_are_left_out(rust_json: str) -> None:
    """Truncation and padding in tokenizer.json have no effect."""
    switched_on = json.loads(rust_json) | {
        "truncation": {
            "direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0,
        },
        "padding": {
            "strategy": {"Fixed": 20}, "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
        },
    }  # fmt: skip
    text = Text("I really love this book, and the one before")

    encoding = tokenization(json.dumps(switched_on)).encode(text, None, "input.text")

    assert encoding.ids == tokenization(rust_json).encode(text, None, "input.text").ids
    assert encoding.truncated_tokens == 0


@pytest.mark.parametrize("max_tokens", [1, 2, 3])
def test_no_room_for_text(rust_json: str, max_tokens: int) -> None:
    """A limit that special tokens alone fill is an error that names the setting."""
    with pytest.raises(ConfigError, match=r"^--max-tokens: "):
        tokenization(rust_json, max_tokens)


@pytest.mark.parametrize("truncation", [Truncation.DROP_END, Truncation.DROP_START])
def test_least_room_for_text(rust_json: str, truncation: Truncation) -> None:
    """With room for one token of text, a pair keeps one token."""
    encoding = tokenization(rust_json, 4).encode(TEXTS[0], truncation, "input.text")

    assert len(encoding.ids) == 4
    assert sum(not token.special for token in encoding.tokens(OffsetUnit.UNICODE)) == 1


def test_the_default_is_used(rust_json: str) -> None:
    """A request without truncation uses the default; the error names the field and the limit."""
    with pytest.raises(RequestError) as rejected:
        tokenization(rust_json).encode(TEXTS[-1], None, "inputs[3].text")

    assert rejected.value.reason == "TOO_MANY_TOKENS"
    assert rejected.value.field == "inputs[3].text"
    assert rejected.value.metadata["max_tokens"] == "32"


def test_models_without_token_types(rust_json: str) -> None:
    """For models without token types they are all 0, also for pairs."""
    with_types = tokenization(rust_json).encode(TEXTS[0], None, "input.text")
    without = tokenization(rust_json, token_types=False).encode(TEXTS[0], None, "input.text")

    assert set(with_types.token_type_ids) == {0, 1}
    assert set(without.token_type_ids) == {0}
    assert {token.token_type_id for token in without.tokens(OffsetUnit.UTF8)} == {0}


@pytest.mark.parametrize("spans", [True, False])
def test_many_texts_at_once(rust_json: str, spans: bool) -> None:
    """A batch gives the encodings of single texts; one that is too long has its error in place."""
    tokenizer = tokenization(rust_json)
    for truncation in (Truncation.DROP_END, Truncation.DROP_START):
        together = tokenizer.encode_all(TEXTS, truncation, spans=spans)
        for text, encoding in zip(TEXTS, together, strict=True):
            alone = tokenizer.encode(text, truncation, "")
            assert isinstance(encoding, Encoding)
            assert encoding.ids == alone.ids
            assert encoding.token_type_ids == alone.token_type_ids
            assert encoding.truncated_tokens == alone.truncated_tokens

    short, long, behind = tokenizer.encode_all([TEXTS[0], TEXTS[-1], TEXTS[0]], None, spans=spans)

    assert isinstance(long, RequestError)
    assert (long.reason, long.field) == ("TOO_MANY_TOKENS", "text")
    assert isinstance(short, Encoding)
    assert isinstance(behind, Encoding)


def test_a_panic_of_the_tokenizer_fails_its_own_text(
    rust_json: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A panic in Rust becomes an Exception, for the text that caused it."""
    panic = type("PanicException", (BaseException,), {})

    class Panicking(ReplaceableTokenizer):
        def encode_batch_fast(self, inputs: list[str], **options: Any) -> object:
            if "bad" in inputs:
                raise panic("caller's text")
            return self.rust.encode_batch_fast(inputs, **options)

    monkeypatch.setattr(tokenizers, "Tokenizer", Panicking)
    tokenizer = tokenization(rust_json)

    good, bad, behind = tokenizer.encode_all(
        [Text("I love"), Text("bad"), Text("I love")], None, spans=False
    )

    assert isinstance(bad, RuntimeError)
    assert str(bad) == "the tokenizer panicked"
    assert isinstance(good, Encoding)
    assert isinstance(behind, Encoding)
    assert good.ids == behind.ids


def test_windows_are_slices_of_one_tokenization(
    rust_json: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long text is tokenized once, whatever the number of its windows; each costs its tokens."""
    calls = []

    class Counting(ReplaceableTokenizer):
        def encode_batch_fast(self, inputs: list[str], **options: Any) -> object:
            calls.append(inputs)
            return self.rust.encode_batch_fast(inputs, **options)

    monkeypatch.setattr(tokenizers, "Tokenizer", Counting)
    tokenizer = tokenization(rust_json)

    [windows] = tokenizer.encode_all([TEXTS[2]], WindowPlan(20, max_windows=20), spans=False)

    assert len(calls) == 1
    assert isinstance(windows, Windows)
    assert len(windows.encodings) > 5
    assert tokens_made(windows) == sum(len(encoding.ids) for encoding in windows.encodings)
    assert {len(encoding.ids) for encoding in windows.encodings} == {20}


def test_interruptions_are_not_swallowed(rust_json: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokenization passes on an exception that is no failure of the tokenizer, for example an
    interrupt.
    """

    class Interrupted(ReplaceableTokenizer):
        def encode_batch(self, _: object, **options: Any) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(tokenizers, "Tokenizer", Interrupted)
    tokenizer = tokenization(rust_json)
    with pytest.raises(KeyboardInterrupt):
        tokenizer.encode(TEXTS[0], None, "input.text")


def test_a_text_without_tokens() -> None:
    """A text of which the tokenizer leaves nothing is EMPTY_TEXT, and fails no other text."""
    letters = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1}, []))  # no unknown token
    tokenizer = tokenization(letters.to_str())

    empty, good = tokenizer.encode_all([Text("xyz"), Text("abx")], None, spans=False)

    assert isinstance(empty, RequestError)
    assert (empty.reason, empty.field) == ("EMPTY_TEXT", "text")
    assert "no token" in str(empty)
    assert isinstance(good, Encoding)
    assert list(good.ids) == [0, 1]


def test_special_tokens_alone_are_an_input(rust_json: str) -> None:
    """A text that becomes special tokens alone is encoded, as transformers does it."""
    encoding = tokenization(rust_json).encode(Text("\u200b"), None, "input.text")

    assert all(token.special for token in encoding.tokens(OffsetUnit.UNICODE))


def test_a_token_that_the_model_does_not_know(rust_json: str) -> None:
    """A text with an id beyond the model's embeddings fails alone, and its error names no token."""
    ids = tokenization(rust_json).encode(Text("love"), None, "input.text").ids
    limited = Tokenization(
        RustTokenizer(rust_json),
        max_tokens=32,
        uses_token_types=True,
        default_truncation=Truncation.REJECT,
        known_ids=max(ids),
    )

    bad, good = limited.encode_all([Text("love"), Text("")], None, spans=False)

    assert isinstance(bad, RequestError)
    assert (bad.reason, bad.field) == ("INTERNAL", "")
    assert "more tokens than its model" in str(bad)
    assert isinstance(good, Encoding)


@pytest.mark.parametrize("truncation", [None, Truncation.DROP_END])
def test_special_tokens_in_a_text_are_split(
    checkpoint: Callable[..., Path], truncation: Truncation | None
) -> None:
    """With split_special_tokens a special token that a text has written out is ordinary text."""
    reference = transformers.AutoTokenizer.from_pretrained(checkpoint("bert"))
    text = "good [SEP] bad" * (1 if truncation is None else 20)

    def ids(split: bool) -> list[int]:
        tokenizer = RustTokenizer(reference.backend_tokenizer.to_str(), split_special_tokens=split)
        made = Tokenization(
            tokenizer,
            max_tokens=32,
            uses_token_types=True,
            default_truncation=Truncation.REJECT,
        ).encode(Text(text), truncation, "input.text")
        return list(made.ids)

    def expected(split: bool) -> list[int]:
        made = reference(text, split_special_tokens=split, truncation=True, max_length=32)
        return list(made["input_ids"])

    assert ids(True) == expected(True)
    assert ids(False) == expected(False)
    assert ids(True).count(reference.sep_token_id) == 1


class RememberingTokenizer:
    """A tokenizer of `transformers` that remembers words; its only id is their number."""

    def __init__(self) -> None:
        self.cache: dict[str, str] = {}

    def __call__(self, text: str, *_: Any, **__: Any) -> dict[str, list[int]]:
        """Tokenize a text of one word."""
        self.cache[text] = text
        return {"input_ids": [len(self.cache)]}


def test_words_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer that keeps each word that it has ever seen forgets them at a limit."""
    monkeypatch.setattr(python, "MAX_CACHED_WORDS", 3)
    tokenizer = python.PythonTokenizer(RememberingTokenizer())

    found = tokenizer.encode([Text(str(number)) for number in range(6)], spans=False)

    assert [each.ids for each in found if not isinstance(each, Exception)] == [
        [1], [2], [3], [4], [1], [2]
    ]  # fmt: skip


def test_long_words_are_not_remembered() -> None:
    """The words of a long text, which may be as long, are forgotten after it."""
    tokenizer = python.PythonTokenizer(RememberingTokenizer())
    texts = [Text("a"), Text("b" * (python.MAX_CACHED_CHARACTERS + 1)), Text("c")]

    found = tokenizer.encode(texts, spans=False)

    assert [each.ids for each in found if not isinstance(each, Exception)] == [[1], [2], [1]]
