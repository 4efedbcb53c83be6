"""Queries that several rows use."""

from .panel import Query

OUR_FAULT = 'reason=~"INTERNAL|POISON_INPUT|WORKER_LOST|EXPIRED_IN_QUEUE"'
CLASSIFY = 'SERVER, method="classwire.v1.ClassifyService/Classify", code="OK"'
WITH_TEXTS = 'method=~".+/(Classify|BatchClassify|ModelInfer)"'
CALL_SECONDS = "classwire_call_duration_seconds"


def quantile(share: float, metric: str, selector: str, by: str) -> Query:
    """A quantile of a histogram for each value of the labels `by`."""
    labels = ", ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return Query(
        f"histogram_quantile({share}, sum by ({by}, le) "
        f"(rate({metric}_bucket{{{selector}}}[WINDOW])))",
        f"p{share * 100:.0f} {labels}",
    )


def mean(metric: str, legend: str, by: str = "model") -> Query:
    """The average of a model's histogram."""
    return Query(
        f"sum by ({by}) (rate({metric}_sum{{MODEL}}[WINDOW])) "
        f"/ sum by ({by}) (rate({metric}_count{{MODEL}}[WINDOW]))",
        legend,
    )


def rate(metric: str, legend: str, by: str = "model", selector: str = "MODEL") -> Query:
    """A counter's increase per second."""
    return Query(f"sum by ({by}) (rate({metric}{{{selector}}}[WINDOW]))", legend)


def share_failed() -> Query:
    """The share of all texts that failed with a server error."""
    failed = "classwire_text_failures_total"
    return Query(
        f"sum(rate({failed}{{MODEL, {OUR_FAULT}}}[WINDOW])) "
        "/ (sum(rate(classwire_texts_total{MODEL}[WINDOW])) "
        f"+ sum(rate({failed}{{MODEL}}[WINDOW])))",
        "share",
    )


def share_rejected() -> Query:
    """The share of calls with texts that the server rejected with OVERLOADED.

    It counts calls, not texts: the server rejects most of these calls without reading them.
    """
    calls = f"classwire_calls_total{{SERVER, {WITH_TEXTS}"
    return Query(
        f'sum(rate({calls}, reason="OVERLOADED"}}[WINDOW])) / sum(rate({calls}}}[WINDOW]))',
        "share",
    )
