"""The benchmark of a GPU, on the CPU in small sizes, and its report."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import report
from benchmarks.gpu.parts import Finding, run
from benchmarks.gpu.plan import peak_bf16_flops
from scripts.pages import ROOT

KINDS = {
    "engine": {"rate", "lone", "small", "graphs", "mixed", "ceiling"},
    "served": {"started", "lone call", "served"},
    "selection": {"selected", "choice", "profile"},
    "kernels": {"pass", "kernel"},
}
"""The findings of each part on the CPU."""


@pytest.mark.timeout(900)
def test_a_trial_on_the_cpu(tmp_path: Path) -> None:
    """Every part runs to its end without a GPU, and its figures are in both files."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--budget-s", "840"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "report.json").read_text())
    assert result["incomplete"] == {}
    assert {each["what"] for each in result["findings"]} == set().union(*KINDS.values())
    assert not any(each["failed"] for each in report.of(result["findings"], "served"))
    page = (tmp_path / "report.md").read_text()
    assert page == report.page(result)
    for title in ("Engine alone", "Lone texts", "Through gRPC", "Kernels"):
        assert f"## {title}\n" in page


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("hangs", "stopped after 20 s"),
        ("crashes", "ended with exit code -11"),
        ("fails", "ended with exit code 3"),
    ],
)
def test_a_part_that_ends_early(how: str, why: str) -> None:
    """Its figures so far count, what else it prints is none, and the reason is named."""
    found: list[Finding] = []
    limit_s = 20.0 if how == "hangs" else 60.0
    assert run("tests.tooling.hanging_part", [how], limit_s, found.append) == why
    assert found == [{"what": "rate", "value": 1}]


@pytest.fixture
def result() -> dict[str, Any]:
    """A run on an H200 that meets two goals of three."""
    engine = {"what": "rate", "length": 128, "lanes": 1}
    return {
        "plan": "full",
        "taken_at": "2026-11-30",
        "device_name": "NVIDIA H200",
        "machine": {"cores": 16, "processor": "CPU", "python": "3.12.3", "torch": "2.11.0"},
        "transformers": "5.17.0",
        "findings": [
            {**engine, "batch_tokens": 4_096, "tokens_per_s": [1.0e6, 1.1e6, 1.2e6]},
            {**engine, "batch_tokens": 16_384, "tokens_per_s": [2.9e6, 3.0e6, 3.1e6]},
            {**engine, "batch_tokens": 16_384, "tokens_per_s": [9e6], "lanes": 2},
            {"what": "lone", "graphs": "without", "tokens": 128, "p50_ms": 4.0, "p95_ms": 5.0},
            {"what": "lone", "graphs": "with", "tokens": 128, "p50_ms": 0.9, "p95_ms": 1.5},
            *(
                {
                    "what": "served",
                    "servers": servers,
                    "tokens_per_s": rate,
                    "p50_ms": 20.0,
                    "mean_batch_texts": 60.0,
                    "failed": 0,
                    "computed_by": ["bfloat16 plain"],
                }
                for servers, rate in ((1, 4e5), (1, 6e5), (4, 1.1e6), (4, 1.3e6))
            ),
        ],
        "incomplete": {},
    }


def lines(page: str, start: str) -> list[str]:
    """The lines of a page that begin so."""
    return [line for line in page.splitlines() if line.startswith(start)]


def test_goals(result: dict[str, Any]) -> None:
    """The best batch on one lane counts, a lone text with graphs, and the best number of servers
    against that batch.
    """
    page = report.page(result)
    assert lines(page, "| engine, texts")[0].endswith(
        "| 3,000,000 (2,900,000 to 3,100,000) | met |"
    )
    assert lines(page, "| a lone text")[0].endswith("| 0.900 | met |")
    assert lines(page, "| through gRPC ÷")[0].endswith("| 0.400 | not met |")


def test_the_share_of_the_peak(result: dict[str, Any]) -> None:
    """3 M tokens/s of BERT-base with texts of 128 tokens are 524 TFLOP/s, 0.53 of an H200's 989:
    12 layers of 2 * 7,077,888 operations for products, and 4 * 768 * 128 for attention.
    """
    assert peak_bf16_flops("NVIDIA H200") == 989e12
    tflops = 3e6 * 12 * (2 * 7_077_888 + 4 * 768 * 128) / 1e12
    assert 523 < tflops < 525
    row = lines(report.page(result), "| 128 | 16384 | 1 |")[0]
    assert row.endswith("| 524 | 0.530 |")


def test_another_gpu_has_no_goals(result: dict[str, Any]) -> None:
    """The goals are those of an H200. A GPU whose peak is not known has no share of it."""
    page = report.page({**result, "device_name": "NVIDIA L4"})
    assert lines(page, "| engine, texts")[0].endswith("| – |")
    assert lines(page, "| 128 | 16384 | 1 |")[0].endswith("| 524 | – |")


def test_a_report_with_little(result: dict[str, Any]) -> None:
    """A run that was cut short has a report of what it measured, and names what it did not."""
    page = report.page({**result, "findings": [], "incomplete": {"engine": "stopped after 9 s"}})
    assert lines(page, "| engine, texts")[0].endswith("| not measured | – |")
    assert "## Engine alone" not in page
    assert "- engine: stopped after 9 s" in page
