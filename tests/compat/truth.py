"""What direct use of transformers gives: the truth of the sweep. It imports no Classwire.

    python -m tests.compat.truth FOLDER TYPE ...

Makes a tiny checkpoint of each type, and classifies each text as users do: one text a call, with a
fresh model. Writes both into FOLDER/TYPE, where a later run finds them, and prints each type that
is done.
"""

import argparse
import copy
import json
import logging
import shutil
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers

from . import texts, weights
from .sizes import LABELS, POSITIONS, tiny_config
from .tokenizer_kinds import make_tokenizer

FILE = "truth.json"
SECONDS = 90
"""How long one type may take."""
LONGER = 3 * POSITIONS // 2
"""Texts of this length have no place where a model has a table of POSITIONS."""


def main() -> None:
    """Make what is not there yet."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m tests.compat.truth"
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("types", nargs="+", metavar="TYPE")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for model_type in arguments.types:
        folder = arguments.folder / model_type
        if not (folder / FILE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            found = _in_time(model_type, folder)
            if imported := [name for name in sys.modules if name.startswith("classwire")]:
                raise ImportError(f"truth comes without Classwire, and {imported[0]} is imported")
            (folder / FILE).write_text(json.dumps(found, indent=1), encoding="utf-8")
        print(model_type, flush=True)


def _in_time(model_type: str, folder: Path) -> dict[str, Any]:
    def over(*_: Any) -> None:
        raise TimeoutError(f"direct use takes longer than {SECONDS} s")

    signal.signal(signal.SIGALRM, over)
    signal.alarm(SECONDS)
    try:
        return make(model_type, folder)
    except Exception as error:  # whatever direct use raises is what the sweep reports
        return {"cannot_run": first_line(error)}
    finally:
        signal.alarm(0)


def first_line(error: BaseException) -> str:
    """Return the kind and the first line of an exception."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__


def make(model_type: str, folder: Path) -> dict[str, Any]:
    """Write a checkpoint of a type into a folder, and return the truth about it."""
    torch.manual_seed(0)
    tokenizer, stand_in = make_tokenizer(model_type, folder)
    config = tiny_config(model_type, tokenizer)
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    tokenizer.save_pretrained(folder)
    samples = texts.samples(model_type, tokenizer)
    few = [sample for sample in samples if sample.kind == "plain"]
    spread = weights.spread_scores(
        model, lambda: torch.cat([_logits(tokenizer, model, sample) for sample in few])
    )
    model.save_pretrained(folder)
    direct = Direct(folder)
    limit = _limit(model_type, direct)
    longest = texts.of_length(model_type, direct.tokenizer, limit or POSITIONS)
    if longest is not None:
        samples.append(texts.Sample("limit", longest))
    return {
        "model": type(model).__name__,
        "tokenizer": type(direct.tokenizer).__name__,
        "stand_in": stand_in,
        "labels": list(LABELS),
        "spread": spread,
        "limit": limit,
        "texts": [direct.record(sample) for sample in samples],
    }


class Direct:
    """A checkpoint used as its users do: float32, one text a call, a fresh model for each text."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
        self._untouched = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32
        ).eval()

    def logits(self, *arguments: str) -> tuple[int, torch.Tensor]:
        """Return the number of tokens of a text or pair, and its logits: (labels,)."""
        inputs = self.tokenizer(*arguments, return_tensors="pt")
        model = copy.deepcopy(self._untouched)
        with torch.no_grad():
            logits: torch.Tensor = model(**inputs).logits[0]
        return inputs["input_ids"].shape[-1], logits

    def record(self, sample: texts.Sample) -> dict[str, Any]:
        """Return a text with its number of tokens and scores, or with why it can't be run."""
        known = {"kind": sample.kind, "text": sample.text, "text_pair": sample.text_pair}
        try:
            tokens, logits = self.logits(*sample.arguments)
        except TimeoutError:
            raise
        except Exception as error:  # the text's own truth: it can't be run
            return known | {"cannot_run": first_line(error)}
        scores = logits.double().softmax(dim=-1).tolist()
        return known | {"tokens": tokens, "scores": scores}


def _logits(tokenizer: Any, model: Any, sample: texts.Sample) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(**tokenizer(*sample.arguments, return_tensors="pt")).logits
    return logits


def _limit(model_type: str, direct: Direct) -> int | None:
    """The longest text that direct use takes, where a table of positions limits it."""
    takes = None
    for tokens in (LONGER, *range(POSITIONS + 2, POSITIONS - 6, -1)):
        text = texts.of_length(model_type, direct.tokenizer, tokens)
        if text is None:
            continue
        try:
            direct.logits(text)
        except (IndexError, RuntimeError, ValueError):
            continue
        takes = tokens
        break
    return None if takes == LONGER else takes


if __name__ == "__main__":
    main()
