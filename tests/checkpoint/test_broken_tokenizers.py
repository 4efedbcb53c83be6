"""Tokenizers that cannot be served, each rejected in one line; and unusual ones that can."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
import transformers

from classwire_server.errors import CheckpointError
from classwire_server.tokenization import Text, Truncation
from tests.checkpoint.conftest import Make
from tests.checkpoint.tokenizers import PYTHON, SPECIAL, WORD_PIECES, load


def error(folder: Path) -> str:
    """The line with which the loader rejects a folder, without the folder's name."""
    with pytest.raises(CheckpointError) as raised:
        load(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value).removeprefix(f"{folder}: ")


@pytest.fixture
def folder(checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of a tiny BERT that a test may change."""
    return Path(shutil.copytree(checkpoint("bert"), tmp_path / "bert"))


def test_a_vocabulary_of_k_mers(make: Make) -> None:
    """A vocabulary without a word of any language is not broken."""
    mers = [one + two + three for one in "ACGT" for two in "ACGT" for three in "ACGT"]
    folder = make("BertTokenizer", {"vocab.txt": "\n".join(SPECIAL + mers)}, do_lower_case=False)
    tokenization = load(folder).tokenization(Truncation.REJECT)
    ids = tokenization.encode(Text("ACG CGT NNN"), None, "").ids
    assert [(SPECIAL + mers)[id_] for id_ in ids] == ["[CLS]", "ACG", "CGT", "[UNK]", "[SEP]"]


def test_a_tokenizer_that_knows_none_of_its_words(make: Make) -> None:
    """The loader rejects a tokenizer whose normalization makes all of its own words unknown."""
    vocabulary = "\n".join([*SPECIAL, "ACG", "CGT"])
    folder = make("BertTokenizer", {"vocab.txt": vocabulary}, do_lower_case=True)
    assert error(folder) == (
        "its tokenizer is broken: it knows none of the words in its vocabulary"
    )


def test_a_tokenizer_of_special_tokens_alone(make: Make) -> None:
    """The loader rejects a vocabulary of special tokens alone."""
    folder = make("BertTokenizer", {"vocab.txt": "\n".join(SPECIAL)})
    assert error(folder) == "its tokenizer is broken: it has only special tokens"


@pytest.mark.parametrize(
    "model_type", ["bert", "roberta", "albert", "deberta-v2", "gpt2", "t5", "xlm", "esm"]
)
def test_no_tokenizer(folder: Path, model_type: str) -> None:
    """A folder without a tokenizer is told so, and what writes one."""
    for file in folder.iterdir():
        if file.name not in {"config.json", "model.safetensors"}:
            file.unlink()
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    assert error(folder) == "has no tokenizer; write one into it with tokenizer.save_pretrained"


def test_a_file_that_is_no_tokenizer(folder: Path) -> None:
    """The error names a tokenizer.json that holds something else."""
    (folder / "tokenizer.json").write_text('{"model": {}}')
    assert error(folder).startswith("tokenizer.json is not a tokenizer (")


def test_python_code_of_the_checkpoint(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A tokenizer that is the checkpoint's own Python code does not reach the server's process,
    even with --trust-remote-code.
    """
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    code = (
        "from transformers import BertJapaneseTokenizer\n\n\n"
        "class OwnTokenizer(BertJapaneseTokenizer):\n    pass\n"
    )
    folder = make(
        "OwnTokenizer",
        {"vocab.txt": WORD_PIECES, "tokenization_own.py": code},
        auto_map={"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]},
        word_tokenizer_type="basic",
    )
    with pytest.raises(CheckpointError, match="does not run in the server's process"):
        load(folder, trust_remote_code=True)


def test_an_unknown_token_that_only_tokenizer_json_names(make: Make) -> None:
    """A word that becomes the unknown token of tokenizer.json is unknown, also where
    tokenizer_config.json names none.
    """
    model = tokenizers.models.WordLevel({"[UNK]": 0, "Good": 1}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    folder = make("PreTrainedTokenizerFast", {"tokenizer.json": tokenizer.to_str()})
    assert "knows none of the words" in error(folder)


def test_a_tokenizer_that_cannot_be_copied(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader rejects a tokenizer in Python that cannot get into the server's process."""
    kind = PYTHON["BertweetTokenizer"]
    folder = make("BertweetTokenizer", kind.files, **kind.config)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.lock = threading.Lock()
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: tokenizer)
    assert error(folder) == "its tokenizer (BertweetTokenizer) cannot be copied to another process"
