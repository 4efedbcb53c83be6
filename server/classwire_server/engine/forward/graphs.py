"""Small batches by CUDA graphs: the kernels of a pass, recorded once and launched together.

A small pass takes a GPU less time than Python takes to launch its kernels one by one. A graph
launches all of them by one call (https://docs.pytorch.org/docs/2.11/notes/cuda.html#cuda-graphs).
It always computes the same shape, so each batch goes into the smallest Bucket that holds it.
"""

import threading
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch

from classwire_server.engine.packing import PackedTexts

from .attention import TextBounds, attends_in_one_call
from .buckets import Bucket, buckets, smallest
from .packed import PackedEngine

Compute = Callable[[], torch.Tensor]
Replay = Callable[[], object]
Capture = Callable[[Compute], tuple[torch.Tensor, Replay]]
"""Records a computation. Each replay computes it again, from the same memory into the tensor."""

_ROWS = 3  # of token ids, token type ids and position ids


def captures_on(device: str) -> Capture:
    """Captures into CUDA graphs on a device. The graphs share the memory of their passes.

    The computation may not wait for the device: a capture raises RuntimeError if it does. For one
    thread, while no other uses the device.
    """
    with torch.cuda.device(device):
        pool, stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()

    def capture(compute: Compute) -> tuple[torch.Tensor, Replay]:
        with torch.cuda.device(device):
            _warm_up(compute, stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool, stream=stream):
                result = compute()
        return result, graph.replay

    return capture


def _warm_up(compute: Compute, stream: torch.cuda.Stream) -> None:
    """Run a computation, so that libraries are set up, and once more without waiting allowed.

    A capture that fails half-way would leave torch's allocator in the middle of it.
    """
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the mode a prototype
        compute()
        torch.cuda.set_sync_debug_mode("error")
        try:
            compute()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    torch.cuda.current_stream().wait_stream(stream)


class _Graph:
    """One bucket's recorded pass, and the memory of its inputs and logits."""

    def __init__(self, engine: PackedEngine, bucket: Bucket, capture: Capture) -> None:
        self.bucket = bucket
        on_device = torch.device(engine.traits.device)
        size = _ROWS * bucket.tokens + bucket.texts + 1
        # One copy for all inputs. Only a copy from pinned memory does not wait.
        self._host = torch.zeros(size, dtype=torch.int64, pin_memory=on_device.type == "cuda")
        rows = self._host.numpy()[: _ROWS * bucket.tokens]
        self._rows = rows.reshape(_ROWS, bucket.tokens)
        self._bounds = self._host[_ROWS * bucket.tokens :]  # (texts + 1,)
        self._bounds.copy_(torch.from_numpy(bucket.full_bounds))
        self._inputs = self._host.to(on_device)
        parts = self._inputs.split([*[bucket.tokens] * _ROWS, bucket.texts + 1])

        def compute() -> torch.Tensor:
            *rows, bounds = parts
            ids, token_type_ids, position_ids = (row[None] for row in rows)  # each (1, tokens)
            text_bounds = TextBounds(self._bounds, bounds.to(torch.int32))
            logits = engine.model.classify(ids, token_type_ids, position_ids, text_bounds)
            return logits.float()  # (texts, labels)

        self._logits, self._replay = capture(compute)

    def run(self, texts: PackedTexts, position_ids: np.ndarray) -> np.ndarray:
        """Logits of a batch that the bucket holds: float32, (texts, labels).

        The rest of the rows keeps ids of earlier batches, which belong to no text now.
        """
        tokens = len(texts.ids)
        for row, values in zip(
            self._rows, (texts.ids, texts.token_type_ids, position_ids), strict=True
        ):
            row[:tokens] = values
        self._bounds.copy_(torch.from_numpy(self.bucket.bounds(texts)))
        self._inputs.copy_(self._host, non_blocking=True)
        self._replay()
        return self._logits[: len(texts.lengths)].to("cpu", copy=True).numpy()


class GraphedEngine:
    """Runs a packed model: batches that a bucket holds by a graph, others by the plain engine.

    Thread-safe. One batch at a time runs by a graph.
    """

    @torch.inference_mode()
    def __init__(self, plain: PackedEngine, sizes: Sequence[Bucket], capture: Capture) -> None:
        """`sizes` are the buckets, the smallest first. Raises what the model or `capture` does."""
        self.traits, self.model = plain.traits, plain.model
        self._plain = plain
        self._sizes = sizes
        self.largest_tokens = max(size.tokens for size in sizes)
        self._lock = threading.Lock()  # guards the memory of the graphs
        # The largest first: the others find room in its memory.
        self._graphs = {size: _Graph(plain, size, capture) for size in reversed(sizes)}

    @torch.inference_mode()
    def run(self, texts: PackedTexts) -> np.ndarray:
        """Logits of the texts in packed order: float32, (texts, labels)."""
        bucket = smallest(self._sizes, texts)
        if bucket is None:
            return self._plain.run(texts)
        position_ids = self._plain.position_ids(texts)
        with self._lock:
            return self._graphs[bucket].run(texts, position_ids)


def with_graphs(plain: PackedEngine, longest: int) -> GraphedEngine:
    """The engine with graphs for texts of up to `longest` tokens, on a CUDA device.

    Raises ValueError, which says why, where a pass reads its batch on the CPU, and what torch and
    the model's code raise.
    """
    config = plain.model.model.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    dtype = getattr(torch, plain.traits.precision.value)
    if not attends_in_one_call(torch.device(plain.traits.device), dtype, size):
        raise ValueError("attention is one call for each length")
    if plain.model.pools_mean:
        raise ValueError("the head reads the mean of each text")
    return GraphedEngine(plain, buckets(longest), captures_on(plain.traits.device))
