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

They were trained on "Women's E-Commerce Clothing Reviews", which its publisher placed in the
public domain (CC0 1.0, SPDX-License-Identifier: CC0-1.0),
see https://creativecommons.org/publicdomain/zero/1.0/
"""


def share(value: float) -> str:
    """Format a share between 0 and 1 as per cent with one decimal."""
    return f"{100 * value:.1f} %"


def quality_table(results: dict[str, Any]) -> str:
    """Return Markdown: checkpoint and baselines on held-out products, and the sentences."""
    lines = [
        "| | exact | off by one | macro-F1 | mean absolute error |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, measured in results["test"].items():
        lines.append(
            f"| {name} | {share(measured['accuracy'])} | {share(measured['off_by_one'])} "
            f"| {measured['macro_f1']:.3f} | {measured['mean_absolute_error']:.3f} |"
        )
    split, sentences = results["split"], results["sentences"]
    per_class = ", ".join(
        f"{label} {value:.2f}" for label, value in results["test_f1_by_label"].items()
    )
    sure = "; ".join(
        f"{name}: {share(ahead['macro_f1'])} and {share(ahead['mean_absolute_error'])}"
        for name, ahead in results["test_leads"].items()
    )
    lines += [
        "",
        f"{split['test']['reviews']:,} reviews of {split['test']['products']} products that "
        "training and selection did not use. Error in stars. Stored in float16, computed in "
        f"float32. F1 by label: {per_class}. "
        f"Expected calibration error {results['test_calibration_error']:.3f} (15 bins). "
        "Bootstrap over test products: the checkpoint is ahead in macro-F1 and in mean absolute "
        f"error in these shares of the draws: {sure}.",
        "",
        f"| {sentences['all']['texts']} own sentences on other topics | exact | off by one |",
        "|---|---:|---:|",
    ]
    for topic, measured in sentences.items():
        lines.append(
            f"| {topic} | {share(measured['accuracy'])} | {share(measured['off_by_one'])} |"
        )
    made = results["made"]
    lines += [
        "",
        f"Measured {made['date']} on {made['machine']}, shared with other work; training took "
        f"{made['minutes']:.0f} minutes on "
        f"{made['threads']} thread{'s' if made['threads'] > 1 else ''} ({made['software']}).",
    ]
    return "\n".join(lines)


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
