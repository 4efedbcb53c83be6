"""Writes the model card and quality tables, only from `results.json`."""

import argparse
import json
from pathlib import Path
from typing import Any

ROOM = Path(__file__).parent
RESULTS = ROOM / "results.json"
BEGIN, END = "<!-- quality: begin -->", "<!-- quality: end -->"
LICENCE = """The weights, vocabulary and configuration in this folder are licensed under the
Apache License, Version 2.0 (SPDX-License-Identifier: Apache-2.0),
see https://www.apache.org/licenses/LICENSE-2.0

They derive from all-MiniLM-L6-v2 of the project sentence-transformers, which is licensed under
the same licence, see https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2

They were changed: cut to fewer layers and word pieces, and trained on "Women's E-Commerce Clothing
Reviews", which its publisher placed in the public domain
(CC0 1.0, SPDX-License-Identifier: CC0-1.0),
see https://creativecommons.org/publicdomain/zero/1.0/
"""


def share(value: float) -> str:
    """Format a share between 0 and 1 as per cent with one decimal."""
    return f"{100 * value:.1f} %"


def test_table(test: dict[str, dict[str, float]]) -> str:
    """Return Markdown: quality of each model on the test products."""
    lines = [
        "| | exact | off by one | macro-F1 | mean absolute error |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, measured in test.items():
        lines.append(
            f"| {name} | {share(measured['accuracy'])} | {share(measured['off_by_one'])} "
            f"| {measured['macro_f1']:.3f} | {measured['mean_absolute_error']:.3f} |"
        )
    return "\n".join(lines)


def sentence_table(sentences: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return Markdown: quality of each model on the sentences, and of the first by topic."""
    first, *_ = sentences
    texts = sentences[first]["all"]["texts"]
    topics = {name: figures for name, figures in sentences[first].items() if name != "all"}
    lines = [
        f"| {texts} own sentences on other topics | exact | off by one |",
        "|---|---:|---:|",
    ]
    rows = {name: each["all"] for name, each in sentences.items()} | {
        f"{first}, {topic}": figures for topic, figures in topics.items()
    }
    for name, measured in rows.items():
        lines.append(
            f"| {name} | {share(measured['accuracy'])} | {share(measured['off_by_one'])} |"
        )
    return "\n".join(lines)


def quality_table(results: dict[str, Any]) -> str:
    """Return Markdown: every model on the test products and on the sentences."""
    split, ahead, made = results["split"], results["test_leads"], results["made"]
    per_class = ", ".join(
        f"{star} star{'s' if star > 1 else ''} {value:.2f}"
        for star, value in enumerate(results["test_f1_by_label"], 1)
    )
    calibration = ", ".join(
        f"{name} {error:.3f}" for name, error in results["test_calibration_error"].items()
    )
    return f"""{test_table(results["test"])}

{split["test"]["reviews"]:,} reviews of {split["test"]["products"]} products that training and \
selection did not use. Error in stars. Stored in float16, computed in float32 where the row does \
not say int8. F1 by label: {per_class}. Expected calibration error (15 bins): {calibration}. \
Bootstrap over test products: the checkpoint is ahead of TF-IDF in macro-F1 in \
{share(ahead["macro_f1"])} of the draws and in mean absolute error in \
{share(ahead["mean_absolute_error"])}.

{sentence_table(results["sentences"])}

Measured {made["date"]} on {made["machine"]}, shared with other work; training took \
{made["minutes"]:.0f} minutes on {made["threads"]} threads ({made["software"]})."""


def facts(results: dict[str, Any]) -> dict[str, str]:
    """Return the values for the card's text."""
    split, model = results["split"], results["model"]
    return {
        "parameters": f"{model['parameters'] / 1e6:.1f} million",
        "size": f"{model['bytes'] / 1e6:.1f} MB",
        "layers": str(model["layers"]),
        "width": str(model["width"]),
        "vocabulary": f"{model['vocabulary']:,}",
        "train": f"{split['train']['reviews']:,}",
        "validation": f"{split['validation']['reviews']:,}",
        "test": f"{split['test']['reviews']:,}",
    }


def between_markers(text: str, table: str) -> str:
    """Replace the text between the markers; raises ValueError if they are missing."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def write(results: dict[str, Any], folder: Path) -> None:
    """Write card and licence into the checkpoint's folder, and the tables into the README."""
    table = quality_table(results)
    card = (ROOM / "card.md").read_text(encoding="utf-8")
    for name, value in facts(results).items():
        card = card.replace("{" + name + "}", value)
    (folder / "README.md").write_text(between_markers(card, table), encoding="utf-8")
    (folder / "LICENSE").write_text(LICENCE, encoding="utf-8")
    readme = ROOM / "README.md"
    readme.write_text(between_markers(readme.read_text(encoding="utf-8"), table), encoding="utf-8")


def main() -> None:
    """Command line: `python -m training.card --output FOLDER`."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--output", type=Path, required=True, help="folder of the checkpoint")
    write(json.loads(RESULTS.read_text(encoding="utf-8")), arguments.parse_args().output)


if __name__ == "__main__":
    main()
