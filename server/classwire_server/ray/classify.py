"""`Classify`, which scores the rows of a data set of Ray Data."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from classwire.contract.reasons import Reason
from classwire.options import WindowOptions
from classwire_server.checkpoint.loading import Checkpoint, ProblemType
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.cores import divide
from classwire_server.errors import ConfigError, RequestError
from classwire_server.scoring import ranking
from classwire_server.tokenization import Fit, Tokenization, Tokenized, Truncation
from classwire_server.windows import Aggregation, WindowPlan

from .answers import Scoring, inputs_of, scored
from .inference import BulkInference
from .resources import assigned
from .texts import texts_in

COLUMNS = {
    "label": pa.string(),
    "score": pa.float32(),
    "scores": pa.list_(pa.float32()),
    "error": pa.string(),
}
"""The columns that Classify adds."""


class Classify:
    """Adds to each row the scores of its text. For `Dataset.map_batches`:

        rows.map_batches(
            Classify,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=4),
            num_cpus=1,
            fn_constructor_kwargs={"model": "FOLDER", "column": "review"},
        )

    Each actor has a model of its own, in one process next to its own, on the cores or the GPU that
    Ray assigns to the actor. No gRPC is involved. For use by one thread.

    The new columns are `label` (string) and `score` (float32), the highest; `scores` (list of
    float32), one for each label in the order of `labels`; and `error` (string), the reason of a
    text that has no scores, from `classwire.Reason`. The others are null where there is an error.

    Args:
        model: Folder or hub id of a checkpoint, as for `classwire serve --model`. Default: the
            embedded English star model.
        column: The column of the texts.
        pair_column: The column of the second texts of pairs. Default: no pairs.
        prefix: Put before the names of the new columns, where the rows have such columns already.
        windows: How to read texts longer than the model; needs `truncation="windows"`.
        settings: Settings of `classwire serve` by name, such as `precision="auto"` and
            `truncation="drop_end"`.

    Raises:
        StartError: The model cannot be served.
        ConfigError: A setting is wrong.
        ValueError: The model cannot have these windows.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        column: str = "text",
        pair_column: str | None = None,
        prefix: str = "",
        windows: WindowOptions | None = None,
        **settings: Any,
    ) -> None:
        config = config_of(model, settings)
        if config.offline:
            os.environ["HF_HUB_OFFLINE"] = "1"  # the worker's hub library reads it at import
        if len(config.sources) != 1:
            raise ConfigError("model", "several models; a job has one")
        self._column = column
        self._pair_column = pair_column
        self._prefix = prefix
        self._max_text_bytes = config.max_text_bytes
        self._inference = BulkInference(config.sources[0], config)
        checkpoint = self._inference.launched.checkpoint
        self.labels: Sequence[str] = checkpoint.labels
        try:
            self._tokenization = checkpoint.tokenization(Truncation(config.truncation))
            self._fit = _fit(self._tokenization, windows or {}, config)
            self._scoring = _scoring(checkpoint, windows or {})
        except BaseException:
            self.close()
            raise

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return the rows with the new columns.

        Raises ValueError for a batch that is no Arrow table, for a column that is missing or has no
        texts, and for one that has the name of a new column. Raises RuntimeError if the model's
        process does not come back.
        """
        if not isinstance(table, pa.Table):
            raise ValueError(f'a batch is a {type(table).__name__}: say batch_format="pyarrow"')
        names = {name: self._prefix + name for name in COLUMNS}
        if taken := [name for name in names.values() if name in table.column_names]:
            raise ValueError(f"the rows have a column {taken[0]!r} already; give a prefix")
        outcomes = self._tokenized(table)
        rows = self._inference.run(inputs_of(outcomes))
        for name, values in self._columns(list(scored(outcomes, rows, self._scoring))).items():
            table = table.append_column(names[name], pa.array(values, COLUMNS[name]))
        return table

    def close(self) -> None:
        """End the model's process, which otherwise ends with this one."""
        self._inference.close()

    def _tokenized(self, table: pa.Table) -> list[Tokenized]:
        texts = texts_in(table, self._column, self._pair_column, self._max_text_bytes)
        good = [text for text in texts if not isinstance(text, RequestError)]
        encoded = iter(self._tokenization.encode_all(good, self._fit, spans=False))
        return [text if isinstance(text, RequestError) else next(encoded) for text in texts]

    def _columns(self, outcomes: Sequence[np.ndarray | Reason]) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        for outcome in outcomes:
            row: tuple[Any, ...] = (None, None, None, str(outcome))
            if not isinstance(outcome, Reason):
                best = int(ranking(outcome)[0])
                row = (self.labels[best], outcome[best], outcome, None)
            for values, value in zip(columns.values(), row, strict=True):
                values.append(value)
        return columns


def config_of(model: str | None, settings: dict[str, Any]) -> ServerConfig:
    """The settings of an actor's model, on the cores and the GPU that Ray assigns to the actor.

    Raises ConfigError for an unknown or wrong setting.
    """
    cores, has_gpu = assigned()
    division = divide(cores, settings.get("lanes", 0), settings.get("threads", 0))
    defaults = {"device": "cuda" if has_gpu else "cpu"}
    if unknown := settings.keys() - ServerConfig.__dataclass_fields__.keys():
        raise ConfigError(sorted(unknown)[0], "no such setting")
    own = {"model": (model,) if model else (), "lanes": division.lanes, "threads": division.threads}
    return ServerConfig(**{**defaults, **settings, **own})


def _fit(tokenization: Tokenization, windows: WindowOptions, config: ServerConfig) -> Fit:
    truncation = tokenization.default_truncation
    if truncation is not Truncation.WINDOWS:
        if windows:
            raise ConfigError("truncation", f"is {truncation.value}, and windows are given")
        return truncation
    tokens = windows.get("window_tokens") or tokenization.max_tokens
    overlap = windows.get("overlap_tokens")
    special = tokenization.special_tokens_of_a_pair
    if not special < tokens <= tokenization.max_tokens:
        raise ValueError(f"window_tokens is not {special + 1} to {tokenization.max_tokens}")
    if overlap is not None and not 0 <= 2 * overlap <= tokens:
        raise ValueError(f"overlap_tokens is not 0 to {tokens // 2}")
    return WindowPlan(tokens, config.max_windows_per_text, overlap)


def _scoring(checkpoint: Checkpoint, windows: WindowOptions) -> Scoring:
    is_multi_label = checkpoint.problem_type is ProblemType.MULTI_LABEL
    default = Aggregation.MAX_SCORE if is_multi_label else Aggregation.MEAN_LOGITS
    named = windows.get("aggregation")
    return Scoring(checkpoint.activation, Aggregation(named) if named else default)
