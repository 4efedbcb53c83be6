"""An instrument that scores texts with `Classify` on Ray Data, on a cluster of its own."""

import os
import time
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import ray

from benchmarks import checkpoints
from benchmarks.instrument import serve
from classwire_server.ray import Classify

from .figures import ScoredBatch

BATCH_TEXTS = 20
"""Every 20 texts have the mix of lengths, so all batches have about the same work."""
OBJECT_STORE_BYTES = 200_000_000


class TimedClassify(Classify):
    """Scores a batch, and adds its actor's process, and when it began and was done."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return the rows with all columns; the times are those of this machine's clock."""
        began_s = time.monotonic()
        scored = super().__call__(table)
        values = (os.getpid(), began_s, time.monotonic())
        for name, value in zip(ScoredBatch._fields, values, strict=False):
            scored = scored.append_column(name, pa.array([value] * scored.num_rows))
        return scored


def run(folder: str, lengths: Sequence[int], actors: int, words: str) -> list[list[float]]:
    """Score texts of these lengths in tokens; returns each batch as the fields of ScoredBatch.

    Raises ValueError if a text fails.
    """
    texts = checkpoints.texts(lengths, checkpoints.words_of(words))
    table = pa.table({"text": texts, "tokens": pa.array(lengths, pa.int64())})
    parts = [table.slice(start, BATCH_TEXTS) for start in range(0, len(texts), BATCH_TEXTS)]
    ray.init(
        num_cpus=actors,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=OBJECT_STORE_BYTES,
    )
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        scored = ray.data.from_arrow(parts).map_batches(
            TimedClassify,
            batch_format="pyarrow",
            batch_size=None,  # a block of the data set is a batch
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=1,
            fn_constructor_kwargs={"model": folder, "precision": "float32"},
        )
        return [
            _summary(batch)
            for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow")
        ]
    finally:
        ray.shutdown()


def _summary(batch: Any) -> list[float]:
    if batch.column("error").null_count < batch.num_rows:
        raise ValueError("a text failed")
    actor, began_s, done_s = (batch.column(name)[0].as_py() for name in ScoredBatch._fields[:3])
    return list(ScoredBatch(actor, began_s, done_s, sum(batch.column("tokens").to_pylist())))


if __name__ == "__main__":
    serve({"run": run})
