"""A notebook as Markdown, for a page of the documentation."""

import json
import re
from collections.abc import Iterator
from typing import Any

LINK_TO_DOCS = re.compile(r"\]\(\.\./\.\./docs/")
"""A link from a notebook's folder, examples/NAME, to a page of docs/."""


def markdown(notebook: str) -> str:
    """Return the notebook's texts, code and printed outputs, for a page in docs/NAME/.

    Leaves out outputs that are not text. Raises ValueError for text that is no JSON.
    """
    return "\n\n".join(part for cell in json.loads(notebook)["cells"] for part in _parts(cell))


def _parts(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield LINK_TO_DOCS.sub("](../", source)
        return
    magic, _, script = source.partition("\n")
    yield _fence("bash", script) if magic == "%%bash" else _fence("python", source)
    for output in cell["outputs"]:
        if printed := "".join(output.get("text") or output.get("data", {}).get("text/plain", "")):
            yield _fence("", printed)


def _fence(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"
