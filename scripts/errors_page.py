"""Write the tables of docs/reference/errors.md, from the reasons and their status codes.

python -m scripts.errors_page
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from enum import StrEnum

from classwire.contract.reasons import ADMIN_CODES, CODES, AdminReason, Reason

from .contract_page import table
from .pages import ROOT, between

PAGE = ROOT / "docs" / "reference" / "errors.md"

ACTIONS: Mapping[StrEnum, tuple[str, str]] = {
    Reason.EMPTY_TEXT: ("Do not send the text.", "path of the text"),
    Reason.TEXT_TOO_LARGE: ("Shorten the text. `ModelLimits` has the limit.", "path of the text"),
    Reason.TOO_MANY_TOKENS: ("Set `truncation`: windows read all of the text.", "path of the text"),
    Reason.UNKNOWN_ENUM: ("Use a value that this server knows.", "path of the option"),
    Reason.BAD_OPTION: ("Correct the value.", "path of the option"),
    Reason.TOO_MANY_ITEMS: ("Send fewer in each message.", "path of the list"),
    Reason.BAD_ID: ("Give each unanswered item its own id.", "path of the id"),
    Reason.BAD_STREAM_START: ("Send exactly one config, as the first message.", "`config`"),
    Reason.BAD_ENCODING: ("Encode each text as UTF-8.", ""),
    Reason.UNKNOWN_MODEL: ("Choose a model from `ListModels`.", "`model`"),
    Reason.UNSUITABLE_MODEL: ("Choose a model by its `tasks`.", "`model`"),
    Reason.OVERLOADED: ("Wait for `retry_after`, then retry.", ""),
    Reason.TOO_MANY_STREAMS: ("Wait, or share an open stream.", ""),
    Reason.RATE_LIMITED: ("Wait for `retry_after`, then retry.", ""),
    Reason.EXPIRED_IN_QUEUE: ("Retry with more time.", ""),
    Reason.LOADING: ("Retry with a pause.", ""),
    Reason.DRAINING: ("Retry, on another server if there is one.", ""),
    Reason.WORKER_LOST: ("Retry with a pause.", ""),
    Reason.POISON_INPUT: ("Do not retry. Tell the operator.", ""),
    Reason.MISSING_CREDENTIALS: ("Send a token or a certificate.", ""),
    Reason.BAD_CREDENTIALS: ("Get a valid token.", ""),
    Reason.NOT_ALLOWED: ("Ask the operator for permission.", ""),
    Reason.INTERNAL: ("Report it, with the metadata's `id`.", ""),
    AdminReason.MODEL_EXISTS: ("Reload the model, or choose another name.", ""),
    AdminReason.BAD_CHECKPOINT: ("Repair the checkpoint.", ""),
    AdminReason.OVER_MEMORY_BUDGET: ("Unload a model, or raise `--memory-budget-mb`.", ""),
    AdminReason.IS_DEFAULT: ("Name another default with `new_default`.", "`new_default`"),
    AdminReason.CHANGE_IN_PROGRESS: ("Wait until `GetStatus` shows no change.", ""),
}
"""For each reason: the client's action, and the field that the error names."""


def reasons(kind: type[StrEnum]) -> str:
    """Return a table with one row for each reason of an enum, in its order.

    Raises KeyError for a reason without a code or an action.
    """
    when = dict(_docstrings(kind))
    codes = {str(each): code for table in (CODES, ADMIN_CODES) for each, code in table.items()}
    return table(
        ("reason", "code", "when", "what the client does", "field"),
        ((f"`{each}`", codes[str(each)], when[each.name], *ACTIONS[each]) for each in kind),
    )


def page() -> str:
    """Return the page with current tables."""
    written = PAGE.read_text(encoding="utf-8")
    for name, kind in (("reasons", Reason), ("admin reasons", AdminReason)):
        begin = f"<!-- {name}: written by scripts.errors_page -->"
        written = between(written, begin, f"<!-- /{name} -->", reasons(kind))
    return written


def _docstrings(kind: type) -> Iterator[tuple[str, str]]:
    """Yield each member of a class and the docstring below it, which Python does not keep."""
    (parsed,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(parsed, ast.ClassDef)
    for member, below in zip(parsed.body, parsed.body[1:], strict=False):
        if isinstance(member, ast.Assign) and isinstance(below, ast.Expr):
            yield ast.unparse(member.targets[0]), " ".join(ast.literal_eval(below.value).split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
