"""The distance of a model's labels from a reference distribution."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import ConfigError, StartError
from classwire_server.registry.predictions.reference import OTHER_LABELS, Reference
from tests.checkpoints import STARS
from tests.contract.engines import PATIENCE_S
from tests.observability.metrics.scrape import Scrape
from tests.registry.predictions.conftest import Numbered
from tests.registry.predictions.test_stability import ALARM, divergence

INDEX = "classwire_label_stability_index"
EVEN = dict.fromkeys(STARS, 200)


def file(folder: Path, content: Any) -> str:
    """Write a reference distribution."""
    path = folder / "reference.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return str(path)


def batch(served: Numbered, texts: dict[int, int], model: str = "") -> None:
    """Classify so many texts of each label id, in one call."""
    inputs = [pb.TextInput(text=f"{n}") for n, times in texts.items() for _ in range(times)]
    request = pb.BatchClassifyRequest(inputs=inputs, model=model)
    served.stub.BatchClassify(request, timeout=PATIENCE_S)


def test_the_distance(numbered: Callable[..., Numbered], bert: Path, tmp_path: Path) -> None:
    """The index has a value from 200 texts on, near 0 for the reference's shares and above the
    alert's threshold for others. A model without a reference has none.
    """
    reference = file(tmp_path, EVEN)
    served = numbered(model=(f"stars={bert}", f"plain={bert}"), reference_distribution=(reference,))
    batch(served, dict.fromkeys(range(5), 39))
    few = Scrape(served.server)
    batch(served, dict.fromkeys(range(5), 1))
    even = Scrape(served.server)
    batch(served, {4: 200})
    uneven = Scrape(served.server)

    assert few.values(INDEX) == []
    assert few.value("classwire_label_window_texts", model="stars") == 195
    assert even.value(INDEX, model="stars") < 1e-6
    expected = divergence(np.full(5, 200), np.array([40, 40, 40, 40, 240]))
    assert uneven.value(INDEX, model="stars") == pytest.approx(expected)
    assert expected > ALARM
    assert uneven.values(INDEX, model="plain") == []
    assert uneven.values("classwire_label_window_texts", model="plain") == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not a JSON object"),
        ([1, 2], "is not a JSON object"),
        ({"1 star": -1}, "is not a JSON object"),
        ({"1 star": 1.5}, "is not a JSON object"),
        ({"1 star": True}, "is not a JSON object"),
        ("[" * 100_000, "is not a JSON object"),
        ("1" * 5_000, "is not a JSON object"),
    ],
)
def test_bad_files(tmp_path: Path, content: Any, said: str) -> None:
    """A file that is no object of labels and whole numbers is an error of the settings, which
    quotes nothing from it.
    """
    with pytest.raises(ConfigError, match=said) as caught:
        ServerConfig(reference_distribution=(file(tmp_path, content),))
    assert caught.value.setting == "reference_distribution"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("nowhere.json",), "No such file"),
        (("other={}",), "no model 'other'"),
        (("{}", "stars-en={}"), "stars-en has two"),
    ],
)
def test_bad_names(tmp_path: Path, given: tuple[str, ...], said: str) -> None:
    """A missing file, an unknown model and two files for one model are errors of the settings."""
    path = file(tmp_path, EVEN)
    with pytest.raises(ConfigError, match=said):
        ServerConfig(reference_distribution=tuple(each.format(path) for each in given))


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"6 stars": 1_000}, "has no label '6 stars'"),
        ({"1 star": 199}, "has 199 texts; 5 labels need 200"),
    ],
)
def test_a_reference_of_another_model(
    numbered: Callable[..., Numbered], bert: Path, tmp_path: Path, texts: Any, said: str
) -> None:
    """A label that the model lacks, and a reference of too few texts, end the start."""
    with pytest.raises(StartError, match=f"--reference-distribution: .*{said}"):
        numbered(
            model=(f"stars={bert}",), reference_distribution=(f"stars={file(tmp_path, texts)}",)
        )


def test_labels_that_count_together() -> None:
    """The reference counts labels together as the metrics do, and a missing label as 0."""
    labels = [f"label {n}" for n in range(120)]
    texts = {"label 0": 4_000, "label 100": 2_000, "label 119": 3_000}
    names = [*labels[:100], OTHER_LABELS]
    counts = dict(zip(names, Reference.of(labels, texts, 1.0).counts, strict=True))

    assert (counts["label 0"], counts["label 1"], counts[OTHER_LABELS]) == (4_000, 0, 5_000)
    with pytest.raises(ConfigError, match="one label"):
        Reference.of(["good"], {"good": 1_000}, 1.0)
