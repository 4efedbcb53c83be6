"""How a batch is laid out decides what it costs: padded, stacked, or packed.

    python -m benchmarks.layouts [--hidden 768 --layers 12] [--texts 32] [--threads 1]

Random weights, lengths like those of real reviews (log-normal, median 40 tokens), on the CPU. The
layouts take turns, so that a noisy machine is noisy to all of them.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

from classwire_server.engine.packed import PackedEngine
from classwire_server.engine.stacked import StackedEngine
from classwire_server.tokenization import Encoding, Text

VOCABULARY = 30_000


def lengths(texts: int) -> list[int]:
    """Tokens of so many reviews, 4 to 512."""
    drawn = np.random.default_rng(0).lognormal(mean=np.log(40), sigma=0.9, size=texts)
    return [int(length) for length in np.clip(drawn, 4, 512)]


def encodings(texts: int) -> list[Encoding]:
    """Random ids with those lengths."""
    generator = np.random.default_rng(1)
    return [
        Encoding(generator.integers(VOCABULARY, size=n).tolist(), [0] * n, 0, Text(""), None)
        for n in lengths(texts)
    ]


@torch.inference_mode()
def padded(model: BertForSequenceClassification, batch: Sequence[Encoding]) -> None:
    """What most servers do: every text padded to the longest."""
    longest = max(len(encoding.ids) for encoding in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)  # (texts, longest)
    mask = torch.zeros_like(ids)
    for row, encoding in enumerate(batch):
        ids[row, : len(encoding.ids)] = torch.tensor(encoding.ids)
        mask[row, : len(encoding.ids)] = 1
    model(input_ids=ids, attention_mask=mask)


def main() -> None:
    """Print a table of tokens per second."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--texts", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=arguments.hidden,
        num_hidden_layers=arguments.layers,
        num_attention_heads=arguments.hidden // 64,
        intermediate_size=4 * arguments.hidden,
    )
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    plain = BertForSequenceClassification(config).eval()
    to_pack = copy.deepcopy(plain)
    stacked, alone = StackedEngine(plain, "cpu"), StackedEngine(plain, "cpu", one_by_one=True)
    packed = PackedEngine(to_pack, "cpu")
    batch = encodings(arguments.texts)
    layouts: dict[str, Callable[[], object]] = {
        "one text at a time": lambda: alone.infer(batch),
        "padded to the longest": lambda: padded(plain, batch),
        "stacked by equal length": lambda: stacked.infer(batch),
        "packed": lambda: packed.infer(batch),
    }
    seconds: dict[str, list[float]] = {name: [] for name in layouts}
    for turn in range(arguments.rounds):
        for name, run in layouts.items():
            print(f"\rround {turn + 1} of {arguments.rounds}: {name:30}", end="", flush=True)
            started_s = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started_s)
    tokens = sum(len(encoding.ids) for encoding in batch)
    print(
        f"\r\033[K{arguments.layers} layers of {arguments.hidden}, {arguments.texts} texts, "
        f"{tokens} tokens, longest {max(lengths(arguments.texts))}, {arguments.threads} threads\n\n"
        "| layout | tokens/s | times padded |\n|---|---|---|"
    )
    median = {name: statistics.median(times) for name, times in seconds.items()}
    for name, time_s in median.items():
        ratio = median["padded to the longest"] / time_s
        print(f"| {name} | {tokens / time_s:,.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
