"""The tokenizer of a checkpoint: checks it, and takes it to the server's process."""

import json
import logging
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from classwire_server.errors import CheckpointError
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
    the ids that `transformers` gives, `pickled` is the tokenizer of `transformers` instead.
    `known_ids` is the number of ids that the model knows, None if it knows all.
    """

    rust_json: str = ""
    split_special_tokens: bool = False
    pickled: bytes = b""
    known_ids: int | None = None

    def load(self) -> Tokenizer:
        """The tokenizer, for use by any thread."""
        if self.pickled:
            return PythonTokenizer(self.pickled)
        return RustTokenizer(self.rust_json, split_special_tokens=self.split_special_tokens)


def save_tokenizer(tokenizer: Any, model: Any, checkpoint: str) -> SavedTokenizer:
    """Check that a tokenizer of `transformers` can be served, and save it for the server.

    Raises CheckpointError if the tokenizer knows none of its own words, fails on them, or cannot
    run in another process.
    """
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    special = set(tokenizer.all_special_ids)
    words = [word for word, id_ in vocabulary.items() if id_ not in special]
    if not words:
        raise CheckpointError(f"{checkpoint}: its tokenizer is broken: it has only special tokens")
    if not any(_is_known(tokenizer, word, special) for word in words):
        raise CheckpointError(
            f"{checkpoint}: its tokenizer is broken: it knows none of the words in its vocabulary"
        )
    known_ids = _known_ids(vocabulary, model, checkpoint)
    rust = getattr(tokenizer, "backend_tokenizer", None)
    if rust is not None:
        split = bool(tokenizer.split_special_tokens)
        saved = SavedTokenizer(rust.to_str(), split, known_ids=known_ids)
        words.sort(key=vocabulary.__getitem__)
        if _agree(saved.load(), tokenizer, _texts(tokenizer, words), checkpoint):
            return saved
    pickled = _pickled(tokenizer, checkpoint)
    log.info(
        "%s: its tokenizer (%s) runs in Python: slower than others, and without spans of tokens",
        checkpoint,
        type(tokenizer).__name__,
    )
    return SavedTokenizer(pickled=pickled, known_ids=known_ids)


def _known_ids(vocabulary: Mapping[str, int], model: Any, checkpoint: str) -> int | None:
    try:
        table = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):  # canine hashes any id
        table = None
    known = getattr(table, "num_embeddings", None) or getattr(model.config, "vocab_size", None)
    unknown = sum(known is not None and id_ >= known for id_ in vocabulary.values())
    if not unknown:
        return None
    log.warning(
        "%s: its tokenizer has %d tokens that its model does not know; texts with them fail",
        checkpoint,
        unknown,
    )
    return int(known)


def _is_known(tokenizer: Any, word: str, special: set[int]) -> bool:
    """Whether an entry of the vocabulary, given as text, becomes anything but unknown tokens."""
    try:
        made = tokenizer(_as_text(tokenizer, word), add_special_tokens=False, verbose=False)
    except Exception:  # not every entry of a vocabulary is text
        return False
    return any(id_ not in special for id_ in made["input_ids"])


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
            expected = tokenizer(*text, verbose=False)
        except Exception as error:
            if text.text_pair is not None:
                continue  # it takes no pairs
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(
                f"{checkpoint}: its tokenizer fails on words of its own vocabulary ({why})"
            ) from error
        [made] = rust.encode([text], spans=False)
        if isinstance(made, Exception) or made.ids != expected["input_ids"]:
            return False
        if made.type_ids != expected.get("token_type_ids", made.type_ids):
            return False
    return True


def _pickled(tokenizer: Any, checkpoint: str) -> bytes:
    kind = type(tokenizer)
    if kind.__module__.partition(".")[0] != "transformers":
        raise CheckpointError(
            f"{checkpoint}: its tokenizer ({kind.__name__}) is the checkpoint's own Python code, "
            "which does not run in the server's process; save it as tokenizer.json"
        )
    try:
        return pickle.dumps(tokenizer)
    except Exception as error:
        raise CheckpointError(
            f"{checkpoint}: its tokenizer ({kind.__name__}) cannot be copied to another process"
        ) from error


def describe_tokenizer(
    tokenizer: Any, saved: SavedTokenizer, location: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """What identifies a tokenizer, in the form that `Model.fingerprint` documents."""
    if not saved.pickled:
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
    "name_or_path",
    "is_local",
    "local_files_only",
    "added_tokens_decoder",
    "chat_template",
}
"""Arguments of a tokenizer that change no ids, or that its added tokens repeat."""


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
