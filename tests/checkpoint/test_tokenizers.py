"""Tokenizers of every kind give the ids that their own call in transformers gives."""

import logging
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import transformers

from classwire_server.checkpoint.loading import Checkpoint
from classwire_server.errors import RequestError
from classwire_server.tokenization import Encoding, Text, Truncation
from tests.checkpoint.conftest import Make
from tests.checkpoint.tokenizers import PYTHON, SENTENCEPIECE, WORD_PIECES, load

TEXTS = (
    Text("the book was very good"),
    Text("The Hotel, it was not clean!\n ok"),
    Text("love it", "hate it, the cold hotel"),
    Text("good </s> [SEP] bad"),
    Text("好 é 🙂"),
)
LONG = (Text("the book " * 50), Text("good " * 60, "bad hotel " * 40))

Inputs = tuple[list[int], list[int]]


def direct(folder: Path, text: Text, side: str = "right", **options: Any) -> Inputs:
    """The ids and token type ids that a user of transformers gets."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.truncation_side = side
    made = tokenizer(*text, **options)
    ids = made["input_ids"]
    return ids, made.get("token_type_ids", [0] * len(ids))


def served(
    checkpoint: Checkpoint, texts: tuple[Text, ...], truncation: Truncation | None = None
) -> list[Inputs]:
    """The ids and token type ids that the server's process makes."""
    received: Checkpoint = pickle.loads(pickle.dumps(checkpoint))
    tokenization = received.tokenization(Truncation.REJECT)
    encodings = tokenization.encode_all(texts, truncation, spans=False)
    found = [each for each in encodings if isinstance(each, Encoding)]
    assert len(found) == len(texts)
    return [(list(each.ids), list(each.token_type_ids)) for each in found]


@pytest.mark.parametrize("kind", SENTENCEPIECE)
def test_sentencepiece_models_alone(
    make: Make, pieces: bytes, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The Rust library serves a folder whose only tokenizer file is a sentencepiece model."""
    folder = make(kind, {SENTENCEPIECE[kind]: pieces})

    with caplog.at_level(logging.INFO, "classwire_server"):
        loaded = load(folder)

    assert loaded.tokenization(Truncation.REJECT).has_spans
    assert "runs in Python" not in caplog.text
    assert [ids for ids, _ in served(loaded, TEXTS)] == [direct(folder, text)[0] for text in TEXTS]


@pytest.mark.parametrize("kind", PYTHON)
def test_tokenizers_in_python(make: Make, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A tokenizer that is only in Python gives the ids of its own call, whole and truncated, and
    one line of the log says that it is slower.
    """
    folder = make(kind, PYTHON[kind].files, **PYTHON[kind].config)

    with caplog.at_level(logging.INFO, "classwire_server"):
        loaded = load(folder)

    assert [record.message for record in caplog.records if "Python" in record.message] == [
        f"{folder}: its tokenizer ({kind}) runs in Python: slower than others, and without spans "
        "of tokens"
    ]
    whole = [direct(folder, text) for text in TEXTS]
    if "token_type_ids" not in loaded.input_names:
        whole = [(ids, [0] * len(ids)) for ids, _ in whole]
    assert served(loaded, TEXTS) == whole
    for truncation, side in ((Truncation.DROP_END, "right"), (Truncation.DROP_START, "left")):
        cut = [direct(folder, t, side, truncation="longest_first", max_length=64) for t in LONG]
        assert [ids for ids, _ in served(loaded, LONG, truncation)] == [ids for ids, _ in cut]


def test_a_long_text_for_a_tokenizer_in_python(make: Make) -> None:
    """A text over the limit is TOO_MANY_TOKENS with its number of tokens, or is truncated with the
    number of tokens that are missing.
    """
    kind = PYTHON["BertweetTokenizer"]
    folder = make("BertweetTokenizer", kind.files, **kind.config)
    tokenization = load(folder).tokenization(Truncation.REJECT)
    tokens = len(direct(folder, LONG[0])[0])

    [rejected] = tokenization.encode_all(LONG[:1], None, spans=False)
    [cut] = tokenization.encode_all(LONG[:1], Truncation.DROP_END, spans=False)

    assert isinstance(rejected, RequestError)
    assert rejected.reason == "TOO_MANY_TOKENS"
    assert rejected.metadata == {"tokens": str(tokens), "max_tokens": "64"}
    assert isinstance(cut, Encoding)
    assert (len(cut.ids), cut.truncated_tokens) == (64, tokens - 64)


IN_A_PROCESS = """
import pickle, sys
from classwire_server.tokenization import Text, Truncation
import classwire_server.engine.worker.protocol
assert "transformers" not in sys.modules
checkpoint = pickle.load(sys.stdin.buffer)
tokenization = checkpoint.tokenization(Truncation.REJECT)
[encoding] = tokenization.encode_all([Text("good book")], None, spans=False)
assert len(encoding.ids) > 2
assert "transformers" in sys.modules
assert "torch" not in sys.modules
"""


def test_the_servers_process_loads_no_torch(make: Make) -> None:
    """A Python tokenizer brings transformers into the server's process when it arrives there, and
    no torch.
    """
    kind = PYTHON["BertweetTokenizer"]
    loaded = load(make("BertweetTokenizer", kind.files, **kind.config))
    ended = subprocess.run(
        [sys.executable, "-P", "-c", IN_A_PROCESS],
        input=pickle.dumps(loaded),
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr.decode()) == (0, "")


def test_the_fingerprint_of_a_tokenizer_in_python(make: Make, tmp_path: Path) -> None:
    """It depends on vocabulary, options and added tokens, and not on the folder's place."""
    kind = PYTHON["BertweetTokenizer"]
    folder = make("BertweetTokenizer", kind.files, **kind.config)
    first = load(folder).fingerprint
    assert load(Path(shutil.copytree(folder, tmp_path / "copy"))).fingerprint == first

    found = {first}
    changes: list[tuple[str, Callable[[str], str]]] = [
        ("vocab.txt", lambda text: text.replace("good 1\nbad 1", "bad 1\ngood 1")),
        ("bpe.codes", lambda text: text.replace("o k</w>", "o t</w>")),
        ("tokenizer_config.json", lambda text: text.replace("true", "false")),
    ]
    for name, change in changes:
        before = (folder / name).read_text()
        (folder / name).write_text(change(before))
        found.add(load(folder).fingerprint)
        (folder / name).write_text(before)
    (folder / "added_tokens.json").write_text('{"<new>": 70}')
    found.add(load(folder).fingerprint)
    assert len(found) == 5


def test_split_special_tokens(make: Make) -> None:
    """split_special_tokens of tokenizer_config.json is honoured, and is part of the fingerprint."""
    files = {"vocab.txt": WORD_PIECES}
    plain = load(make("BertTokenizer", files))
    folder = make("BertTokenizerFast", files, split_special_tokens=True)
    split = load(folder)

    text = Text("good [SEP] bad")
    [(ids, _)] = served(split, (text,))
    assert ids == direct(folder, text)[0]
    assert ids != served(plain, (text,))[0][0]
    assert split.fingerprint != plain.fingerprint


class BertTokenizer(transformers.BertTokenizer):
    """A tokenizer that puts a word of its own in front of each text."""

    __module__ = transformers.BertTokenizer.__module__

    def __call__(self, text: str, *others: Any, **options: Any) -> Any:
        """Tokenize a text, or a pair."""
        return super().__call__(f"very {text}", *others, **options)


def test_a_rust_tokenizer_whose_own_call_gives_other_ids(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tokenizer whose call gives other ids than its tokenizer.json is served by its call."""
    monkeypatch.setattr(transformers.models.bert.tokenization_bert, "BertTokenizer", BertTokenizer)
    monkeypatch.setattr(
        transformers.AutoTokenizer, "from_pretrained", BertTokenizer.from_pretrained
    )
    folder = make("BertTokenizer", {"vocab.txt": WORD_PIECES})
    very = WORD_PIECES.split("\n").index("very")

    found = served(load(folder), TEXTS)

    assert {ids[1] for ids, _ in found} == {very}
    assert found == [direct(folder, text) for text in TEXTS]


def test_threads_do_not_disturb_each_other(make: Make) -> None:
    """Threads that truncate in different ways do not change each other's encodings, though a
    tokenizer in Python keeps its way of truncating in itself.
    """
    kind = PYTHON["BertweetTokenizer"]
    folder = make("BertweetTokenizer", kind.files, **kind.config)
    tokenization = load(folder).tokenization(Truncation.REJECT)
    ways = {Truncation.DROP_END: "right", Truncation.DROP_START: "left"}
    expected = {
        (text, way): direct(folder, text, side, truncation="longest_first", max_length=64)[0]
        for text in LONG
        for way, side in ways.items()
    }

    with ThreadPoolExecutor(4) as pool:
        jobs = [*expected] * 20
        made = pool.map(lambda job: tokenization.encode(job[0], job[1], "").ids, jobs)
        assert list(made) == [expected[job] for job in jobs]
