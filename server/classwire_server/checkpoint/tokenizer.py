"""The tokenizer of a checkpoint: checks it, and takes it to the server's process."""

import copy
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from classwire_server.errors import CheckpointError, telling_line
from classwire_server.tokenization import Text, Tokenizer
from classwire_server.tokenization.python import PythonTokenizer
from classwire_server.tokenization.rust import RustTokenizer

from .tokenizer_files import vocabulary_files

log = logging.getLogger(__name__)

COMPARED_TOKENS = 64
"""Number of entries of the vocabulary that go into the texts that tokenizers are compared on."""


@dataclass(frozen=True)
class SavedTokenizer:
    """A tokenizer in a form that another process can load.

    `rust_json` is its tokenizer.json, loaded with `split_special_tokens`. Where that would not give
    the ids that `transformers` gives, `python` is the tokenizer of `transformers` instead.
    `known_ids` is the number of ids that the model knows, None if it knows all.
    """

    rust_json: str = ""
    split_special_tokens: bool = False
    python: Any = None
    known_ids: int | None = None

    def load(self) -> Tokenizer:
        """The tokenizer, for use by any thread."""
        if self.python is not None:
            return PythonTokenizer(copy.deepcopy(self.python))
        return RustTokenizer(self.rust_json, split_special_tokens=self.split_special_tokens)


def save_tokenizer(tokenizer: Any, model: Any, checkpoint: str) -> SavedTokenizer:
    """Check that a tokenizer of `transformers` can be served, and save it for the server.

    Raises CheckpointError if the tokenizer knows none of its own words, fails on them, or cannot
    run in another process.
    """
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    rust = getattr(tokenizer, "backend_tokenizer", None)
    rust_json = "" if rust is None else rust.to_str()
    special = _special_ids(tokenizer, vocabulary, rust_json)
    words = [word for word, id_ in vocabulary.items() if id_ not in special]
    if not words:
        raise CheckpointError(f"{checkpoint}: its tokenizer is broken: it has only special tokens")
    _check_words(tokenizer, words, special, checkpoint)
    known_ids = _known_ids(vocabulary, model, checkpoint)
    if rust_json:
        split = bool(tokenizer.split_special_tokens)
        saved = SavedTokenizer(rust_json, split, known_ids=known_ids)
        words.sort(key=vocabulary.__getitem__)
        if _agree(saved.load(), tokenizer, _texts(tokenizer, words), checkpoint):
            return saved
    _check_python(tokenizer, checkpoint)
    log.info(
        "%s: its tokenizer (%s) runs in Python: slower than others, and without spans of tokens",
        checkpoint,
        type(tokenizer).__name__,
    )
    return SavedTokenizer(python=tokenizer, known_ids=known_ids)


def _known_ids(vocabulary: Mapping[str, int], model: Any, checkpoint: str) -> int | None:
    try:
        table = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):  # CANINE has no table: it hashes ids
        table = None
    rows: int | None = getattr(table, "num_embeddings", None)
    known: int | None = rows or getattr(model.config, "vocab_size", None)
    if known is None or not (unknown := sum(id_ >= known for id_ in vocabulary.values())):
        return None
    log.warning(
        "%s: its tokenizer has %d tokens that its model does not know; texts with them fail",
        checkpoint,
        unknown,
    )
    return known


def _special_ids(tokenizer: Any, vocabulary: Mapping[Any, Any], rust_json: str) -> set[Any]:
    """The ids of special tokens and of the unknown token, which stand for no text of their own."""
    added = tokenizer.added_tokens_decoder.items()
    model = json.loads(rust_json)["model"] if rust_json else {}
    unknown = vocabulary.get(model.get("unk_token"), model.get("unk_id"))
    return {unknown, *tokenizer.all_special_ids, *(id_ for id_, token in added if token.special)}


def _check_words(tokenizer: Any, words: Sequence[str], special: set[Any], checkpoint: str) -> None:
    """Raises CheckpointError unless one of the words, given as text, becomes a token that is not
    special.
    """
    why = "it knows none of the words in its vocabulary"
    for word in words:
        try:
            made = tokenizer(_as_text(tokenizer, word))
        except Exception as error:  # not every entry of a vocabulary is text
            why = f"it fails on the words of its vocabulary ({telling_line(error)})"
            continue
        if any(id_ not in special for id_ in made["input_ids"]):
            return
    raise CheckpointError(f"{checkpoint}: its tokenizer is broken: {why}")


def _as_text(tokenizer: Any, word: str) -> str:
    return str(tokenizer.convert_tokens_to_string([word]))


def _texts(tokenizer: Any, words: Sequence[str]) -> Iterator[Text]:
    """Texts from all over the vocabulary, and pairs of them. None is blank."""
    step = max(1, len(words) // COMPARED_TOKENS)
    singles = [_as_text(tokenizer, word) for word in words[::step]]
    together = " ".join(singles)
    written_out = " ".join([singles[0], *tokenizer.all_special_tokens, singles[-1]])
    for text in (*singles, together, together.upper(), f"  {together}\n", written_out):
        if text.strip():
            yield Text(text)
    if together.strip():
        yield Text(together, written_out)


def _agree(rust: Tokenizer, tokenizer: Any, texts: Iterator[Text], checkpoint: str) -> bool:
    """Whether a Rust tokenizer gives the ids and token type ids that calls of `tokenizer` give."""
    for text in texts:
        try:
            expected = tokenizer(*text)
        except Exception as error:
            if text.text_pair is not None:
                continue  # it takes no pairs
            raise CheckpointError(
                f"{checkpoint}: its tokenizer fails on its own words ({telling_line(error)})"
            ) from error
        [made] = rust.encode([text], spans=False)
        if isinstance(made, Exception) or made.ids != expected["input_ids"]:
            return False
        if made.type_ids != expected.get("token_type_ids", made.type_ids):
            return False
    return True


def _check_python(tokenizer: Any, checkpoint: str) -> None:
    """Raises CheckpointError if a tokenizer in Python cannot run in the server's process."""
    kind = type(tokenizer)
    if kind.__module__.partition(".")[0] != "transformers":
        raise CheckpointError(
            f"{checkpoint}: its tokenizer ({kind.__name__}) is the checkpoint's own Python code, "
            "which does not run in the server's process; save it as tokenizer.json"
        )
    try:
        copy.deepcopy(tokenizer)  # as pickle does it
    except Exception as error:
        raise CheckpointError(
            f"{checkpoint}: its tokenizer ({kind.__name__}) cannot be copied to another process"
        ) from error


def describe_tokenizer(
    tokenizer: Any, saved: SavedTokenizer, location: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """What identifies a tokenizer, in the form that `Model.fingerprint` documents."""
    if saved.python is None:
        document: dict[str, Any] = json.loads(saved.rust_json)
        return document | ({"split_special_tokens": True} if saved.split_special_tokens else {})
    return {
        "class": type(tokenizer).__name__,
        "files": vocabulary_files(tokenizer, location, options),
        "added_tokens": {
            str(id_): _plain(token) for id_, token in tokenizer.added_tokens_decoder.items()
        },
        "options": {
            name: _plain(value)
            for name, value in tokenizer.init_kwargs.items()
            if name not in _NO_OPTIONS and not name.endswith("_file")
        },
    }


_NO_OPTIONS = {
    *("name_or_path", "is_local", "local_files_only"),
    *("added_tokens_decoder", "chat_template", "vocab", "merges"),
}
"""Arguments of a tokenizer that change no ids, or repeat its files or added tokens."""


def _plain(value: Any) -> Any:
    """An argument of a tokenizer in terms of JSON; an added token as its text and flags."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    names = ("content", "special", "lstrip", "rstrip", "single_word", "normalized")
    return {name: getattr(value, name, None) for name in names}
