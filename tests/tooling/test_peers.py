"""The comparison with other engines: its pure parts, and the pages that it writes."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import publication
from benchmarks.peers import environment, tables
from benchmarks.peers.comparison import BATCH_TEXTS, BATCHES, spread
from benchmarks.peers.figures import best_other
from benchmarks.peers.model import WAYS, padded
from benchmarks.targets import PEER_TARGETS, measured
from benchmarks.workload import mixed

RECORDED = Path(__file__).with_name("recorded_benchmark.json")


@pytest.fixture
def result() -> dict[str, Any]:
    """Return a result with round figures, in the form that a run writes."""
    recorded: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return recorded


def test_versions_of_the_other_engines_are_exact() -> None:
    """peers.txt pins the engines and all that they need, each to one version."""
    pins = environment.pins(environment.PINS.read_text(encoding="utf-8"))
    assert {"openvino", "nncf", "onnxruntime", "ctranslate2", "numpy", "onnx"} <= pins.keys()
    assert all(re.fullmatch(r"[\d.]+", version) for version in pins.values())


@pytest.mark.parametrize("line", ["numpy", "numpy>=2", "numpy==2.*", "numpy==2,<3", "a==1\na==2"])
def test_a_version_that_is_not_exact_is_rejected(line: str) -> None:
    """A range, a pattern, no version and two versions of a package are errors."""
    with pytest.raises(ValueError, match="not one exact version"):
        environment.pins(line)


def test_measured_texts_are_batches_of_the_whole_workload() -> None:
    """The texts are as long as the workload's on average, and sorted by 8 they need hardly any
    padding.
    """
    lengths = mixed().lengths
    chosen = spread(lengths, BATCHES)
    assert len(chosen) == BATCHES * BATCH_TEXTS
    assert sum(chosen) / len(chosen) == pytest.approx(sum(lengths) / len(lengths), rel=0.1)
    batches = list(WAYS["sorted by 8"]([[0] * length for length in chosen]))
    slots = sum(len(batch) * max(map(len, batch)) for batch in batches)
    assert slots < 1.1 * sum(chosen)


def test_ways_to_cut_batches() -> None:
    """Every way keeps all texts, longest first, in batches of its size."""
    texts = [[0] * length for length in (3, 9, 5, 7, 1, 8, 2, 6, 4)]
    assert [len(batch) for batch in WAYS["one by one"](texts)] == [1] * 9
    assert [[len(text) for text in batch] for batch in WAYS["sorted by 8"](texts)] == [
        [9, 8, 7, 6, 5, 4, 3, 2],
        [1],
    ]
    assert [len(batch) for batch in WAYS["sorted by 32"](texts)] == [9]


def test_padding_is_masked() -> None:
    """Rows have the length of the longest text, and the mask is 1 where a text is."""
    ids, mask = padded([[7, 8, 9], [5]])
    assert (ids.tolist(), mask.tolist()) == ([[7, 8, 9], [5, 0, 0]], [[1, 1, 1], [1, 0, 0]])


def test_the_best_other_engine_is_not_ours(result: dict[str, Any]) -> None:
    """The rate to beat is the highest of the other engines, on as many cores."""
    assert best_other(result, "float32", 1) == [3_600 / 7.2] * 2
    del result["peers"]["precisions"]["float32"]["OpenVINO"]
    assert best_other(result, "float32", 1) == [3_600 / 8] * 2
    result["peers"]["precisions"]["float32"] = {}
    with pytest.raises(LookupError):
        best_other(result, "float32", 1)


def test_a_slower_engine_misses_its_targets(result: dict[str, Any]) -> None:
    """Rates are compared with lower bounds, and times of lone texts with upper ones."""
    slow = copy.deepcopy(result)
    ours = slow["peers"]["precisions"]["int8"]["Classwire"]
    ours["cores"]["2"]["seconds"] = [1.1, 1.1]
    ours["lone_s"]["16"]["1"] = [0.012, 0.012]
    failed = {t.name for t in PEER_TARGETS if (v := measured(t, slow)) and not t.is_met(v)}
    assert failed == {
        "int8 compiled ÷ OpenVINO int8, two cores",
        "lone text of 16 tokens, int8, one thread, time ÷ OpenVINO's",
    }


def test_the_page_shows_every_engine_and_what_was_left_out(result: dict[str, Any]) -> None:
    """The page has a row for each engine and precision, with its best way, its deviation, its
    version, and what this processor cannot run.
    """
    page = tables.page(result)
    assert "2026-01-01, 2 cores of a processor (avx2)" in page
    assert "OpenVINO 2026.4.1, nncf 3.4.0" in page
    assert (
        "| int8, OpenVINO | 1,500 | 3,000 | sorted by 8 / sorted by 8, 2 at a time | 2.0e-02 |"
        in (page)
    )
    assert "| float32, CTranslate2 | 400 | 800 | sorted by 8 / sorted by 8, 2 threads |" in page
    assert "| int8, Classwire, ms | 10.0 | 7.14 | 25.0 | 15.6 |" in page
    assert page.endswith(
        "Not on this processor: ONNX Runtime in bfloat16, CTranslate2 in bfloat16."
    )
    for target in PEER_TARGETS:
        assert f"| {target.name} |" in page


def test_one_core_alone(result: dict[str, Any]) -> None:
    """On a machine of one core the columns of two cores are empty, and those targets are not
    measured.
    """
    for records in result["peers"]["precisions"].values():
        for record in records.values():
            del record["cores"]["2"]
            for times in record["lone_s"].values():
                del times["2"]
    page = tables.page(result)
    assert "| int8, OpenVINO | 1,500 | – | sorted by 8 | 2.0e-02 |" in page
    assert page.count("| not measured |") == 4
    assert "| int8 | 1,800 | 1,500 | 900 | 1,200 |" in tables.summary(result)


def test_publication_writes_only_what_was_measured(result: dict[str, Any]) -> None:
    """A run of the comparison alone changes its own parts of page and README, and no others."""
    page = publication.PAGE.read_text(encoding="utf-8")
    readme = publication.README.read_text(encoding="utf-8")
    parts = ("engines", "served", *publication.SERVERS)
    alone = {key: value for key, value in result.items() if key not in parts}
    new_page, new_readme = publication.published(page, readme, alone, [Path("peers.svg")])
    before, _, after = page.partition(publication.PEERS_BEGIN)
    assert new_page.startswith(before)
    assert new_page.endswith(after.partition(publication.PEERS_END)[2])
    assert "charts/peers.svg" in new_page
    assert "| int8 | 1,800 / 3,600 | 1,500 / 3,000 | 900 / 1,800 | 1,200 / 2,400 |" in new_readme
    assert "2026-01-01, 2 cores of a processor (avx2)" in new_readme
    del result["peers"]
    new_page, new_readme = publication.published(page, readme, result, [Path("latency.svg")])
    assert new_readme == readme
    assert new_page.partition(publication.PEERS_BEGIN)[2] == after
