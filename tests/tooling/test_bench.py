"""The benchmark's pure parts: texts, statistics, verdicts, tables and charts."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import charts, checkpoints, tables
from benchmarks.figures import digits, figure, quantile, ratio
from benchmarks.measures import left_by_model, share_of_ceiling
from benchmarks.targets import FLEET_TARGETS, PEER_TARGETS, TARGETS, measured
from benchmarks.workload import MIX, interleave, joined, mixed

RECORDED = Path(__file__).with_name("recorded_benchmark.json")


@pytest.fixture
def result() -> dict[str, Any]:
    """Return a result with round figures, in the form that a run writes."""
    recorded: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return recorded


def test_the_workload_has_its_mix() -> None:
    """Half of the texts are sentences, 40 % reviews, 10 % long: overall, and in every 20 texts."""
    lengths = mixed().lengths
    assert len(lengths) == 400
    for start in range(0, len(lengths), 20):
        for share in MIX:
            held = sum(share.holds(length) for length in lengths[start : start + 20])
            assert held == round(20 * share.of_texts), share.name
    assert max(lengths) > 400


def test_interleaving_is_the_same_every_time() -> None:
    """The same pools and seed give the same workload, and another seed another one."""
    pools = [range(5, 26), range(30, 151), range(151, 511)]
    assert interleave(pools, 60) == interleave(pools, 60)
    assert interleave(pools, 60) != interleave(pools, 60, seed=8)


def test_a_joined_text_has_its_special_tokens_once() -> None:
    """A joined text has its special tokens once: three texts of 102 tokens make 302.

    The number of joined texts is the one that comes nearest to the length asked for.
    """
    assert joined([102, 102, 102], 302) == 302
    assert joined([102, 102, 102], 190) == 202


def test_words_are_as_many_as_the_reference_has() -> None:
    """The vocabulary has the reference's size and no word twice."""
    words = checkpoints.words()
    assert len(set(words)) == len(words) > 100_000
    assert {len(word) for word in words} == {5}


def test_texts_have_the_words_that_their_tokens_need() -> None:
    """A text of n tokens has n - 2 words, each one token, and two special tokens."""
    assert [len(text.split()) for text in checkpoints.texts([5, 16], ["word"])] == [3, 14]


def test_bert_base_costs_what_its_weights_do() -> None:
    """A token of BERT-base costs 170 MFLOP: two for each of the encoder's 85 million weights."""
    assert checkpoints.BERT_BASE.linear_flops_per_token == 169_869_312


def test_figures() -> None:
    """Figures hold median, minimum and maximum; ratios are taken within rounds; quantiles are
    measured values.
    """
    assert (figure([3, 1, 2]).median, figure([3, 1, 2]).least, figure([3, 1, 2]).most) == (2, 1, 3)
    assert ratio([2, 40, 6], [1, 10, 2]).median == 3
    assert (str(figure([1.0, 2.0, 4.0])), str(figure([2.0]))) == ("2.00 (1.00 to 4.00)", "2.00")
    assert [quantile([4, 1, 3, 2], share) for share in (0.5, 0.75, 0.99)] == [2, 3, 4]
    assert [digits(value) for value in (0.01234, 1.5, 1_234.5, 0)] == [
        "0.0123",
        "1.50",
        "1,234",
        "0",
    ]


def test_every_target_is_measured_and_judged(result: dict[str, Any]) -> None:
    """A whole result has a figure for each target, and the recorded one meets all."""
    for target in (*TARGETS, *FLEET_TARGETS, *PEER_TARGETS):
        value = measured(target, result)
        assert value is not None, target.name
        assert target.is_met(value), (target.name, value)


def test_a_worse_result_meets_less(result: dict[str, Any]) -> None:
    """An engine twice as slow misses its target ratios; upper bounds are compared as upper
    bounds.
    """
    slow = copy.deepcopy(result)
    seconds = slow["engines"]["engines"]["packed int8, compiled"]["seconds"]
    seconds[:] = [4 * taken for taken in seconds]
    slow["interference"]["worker"]["busy_s"] = [1.0, 1.0]
    failed = {t.name for t in TARGETS if (v := measured(t, slow)) and not t.is_met(v)}
    assert "int8 compiled ÷ packed float32 compiled" in failed
    assert "forward time with 4 busy Python threads in the server ÷ without" in failed


def test_share_of_ceiling(result: dict[str, Any]) -> None:
    """The share of ceiling divides an engine's FLOP/s by the best kernel's of each round."""
    share = share_of_ceiling(result, "packed float32, compiled", "float32")
    rate = 4_800 / 12 * result["engines"]["linear_flops_per_token"]
    assert share.median == pytest.approx(rate / 80e9)


def test_missing_measurements_are_stated(result: dict[str, Any]) -> None:
    """A partial result still has all tables, and its targets are shown as not measured."""
    del result["engines"]["engines"]["packed int8, compiled"]
    del result["accuracy"]
    result["missing"] = ["onnx by 8: it is not installed"]
    page = tables.page(result)
    assert page.count("| not measured |") == 2
    assert "- onnx by 8: it is not installed" in page


def test_the_page_shows_every_engine_and_call(result: dict[str, Any]) -> None:
    """Each engine, call and target is a row, and the page names the cores of each process."""
    page = tables.page(result)
    for name in result["engines"]["engines"]:
        assert f"| {name} |" in page
    for target in TARGETS:
        assert f"| {target.name} |" in page
    assert "worker on [1]" in page


def test_the_page_of_servers_leaves_out_what_they_were_not_asked(result: dict[str, Any]) -> None:
    """A result of starts, memory and calls shows their targets and tables, and no others."""
    for part in ("engines", "served", "windows", "interference", "accuracy"):
        del result[part]

    page = tables.server_page(result)

    shown = [target.name for target in TARGETS if f"| {target.name} |" in page]
    assert shown == [target.name for target in TARGETS if measured(target, result) is not None]
    assert "second start of BERT-base float32 ÷ importing torch and BERT" in shown
    assert "not measured" not in page
    assert "| processor time, echo | 0.400 |" in page


def test_what_a_model_leaves_of_the_echo() -> None:
    """With 0.4 ms in the echo, 0.4 in its client and 0.8 in the worker, two cores answer 1,250
    calls per second: half of an echo's 2,500. A model leaves all of a rate that is below that.
    """
    served = {"processor_s": {"server": 0.005, "workers": 0.0008, "load": 0.0006}}
    echo = {"processor_s": {"server": 0.0004, "workers": 0.0, "load": 0.0004}}

    assert left_by_model(served, {**echo, "texts_per_s": 2_500}, 2) == pytest.approx(0.5)
    assert left_by_model(served, {**echo, "texts_per_s": 1_000}, 2) == 1.0


def test_charts_are_drawn_and_are_the_same_every_time(
    result: dict[str, Any], tmp_path: Path
) -> None:
    """A whole result gives all charts, byte for byte the same every time; without calls it has no
    latencies.
    """
    first = charts.draw(result, tmp_path / "first")
    again = charts.draw(result, tmp_path / "again")
    assert [path.name for path in first] == ["throughput.svg", "latency.svg", "peers.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    result["served"] = []
    assert [path.name for path in charts.draw(result, tmp_path)] == ["throughput.svg", "peers.svg"]
