"""The columns of results, and the outcomes of rows as their values."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import pyarrow as pa

from classwire import ClasswireError
from classwire.cli.outputs import Scored
from classwire.cli.records import error_record

_ERROR = pa.struct([(name, pa.string()) for name in ("code", "reason", "message", "field")])
_WINDOW = pa.struct(
    [
        *((name, pa.int32()) for name in ("start", "end", "sequence_index", "token_count")),
        ("scores", pa.list_(pa.float32())),
    ]
)
_BATCH_ROWS = 1_024
"""Outcomes that are Python objects at one time."""


@dataclass(frozen=True, slots=True)
class ResultColumns:
    """The columns that results have."""

    label_number: str
    """The field of a score with its label's number: `label_id`, or `index` for candidates."""
    prefix: str = ""
    """What all names begin with."""
    has_windows: bool = False
    """Whether each row has its windows."""

    @property
    def error(self) -> str:
        """The name of the column of errors."""
        return f"{self.prefix}error"

    @property
    def schema(self) -> pa.Schema:
        """Names and types."""
        kinds = {
            "label": pa.string(),
            "score": pa.float32(),
            "scores": pa.list_(self._score),
            **({"windows": pa.list_(_WINDOW)} if self.has_windows else {}),
            "error": _ERROR,
        }
        return pa.schema([(self.prefix + name, kind) for name, kind in kinds.items()])

    def batch(self, outcomes: Sequence[Scored]) -> pa.RecordBatch:
        """Return the values for these rows. A row has an error, and nulls in all other columns, or
        no error.
        """
        scored = [None if isinstance(each, ClasswireError) else each for each in outcomes]
        errors = [error_record(e) if isinstance(e, ClasswireError) else None for e in outcomes]
        best = [each.scores[0] if each and each.scores else None for each in scored]
        arrays = [
            pa.array([each and each.label for each in best], pa.string()),
            pa.array([each and each.score for each in best], pa.float32()),
            self._score_lists([each.scores if each else None for each in scored]),
            *([pa.array(map(_windows, scored), pa.list_(_WINDOW))] if self.has_windows else []),
            pa.array(errors, _ERROR),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    @property
    def _score(self) -> pa.StructType:
        return pa.struct(
            [("label", pa.string()), (self.label_number, pa.int32()), ("score", pa.float32())]
        )

    def _score_lists(self, lists: Sequence[Sequence[Any] | None]) -> pa.ListArray:
        """The scores of each row; None for no list. From arrays, far faster than from dicts."""
        ends = list(accumulate((len(each or ()) for each in lists), initial=0))
        begins = [None if each is None else end for each, end in zip(lists, ends, strict=False)]
        scores = [score for each in lists for score in each or ()]
        values = pa.StructArray.from_arrays(
            [
                pa.array([score.label for score in scores], pa.string()),
                pa.array([getattr(score, self.label_number) for score in scores], pa.int32()),
                pa.array([score.score for score in scores], pa.float32()),
            ],
            fields=list(self._score),
        )
        return pa.ListArray.from_arrays(pa.array([*begins, ends[-1]], pa.int32()), values)


class Results:
    """The results of a row group, in the order of its rows."""

    def __init__(self, columns: ResultColumns) -> None:
        self.rows = 0
        """Number of rows that have a result."""
        self._columns = columns
        self._outcomes: list[Scored] = []
        self._batches: list[pa.RecordBatch] = []

    def add(self, outcome: Scored) -> None:
        """Add the outcome of the next row."""
        self.rows += 1
        self._outcomes.append(outcome)
        if len(self._outcomes) == _BATCH_ROWS:
            self._pack()

    def appended_to(self, table: pa.Table) -> pa.Table:
        """Return the table of the row group with the columns of results behind its own."""
        self._pack()
        results = pa.Table.from_batches(self._batches, self._columns.schema)
        for field, column in zip(results.schema, results.columns, strict=True):
            table = table.append_column(field, column)
        return table

    def _pack(self) -> None:
        self._batches.append(self._columns.batch(self._outcomes))
        self._outcomes = []


def _windows(scored: Any) -> list[dict[str, Any]] | None:
    names = [field.name for field in _WINDOW]
    return scored and [{name: getattr(each, name) for name in names} for each in scored.windows]
