"""Common kinds of queries."""

from .panel import Query

SERVER_FAULT = 'reason=~"INTERNAL|POISON_INPUT|WORKER_LOST|EXPIRED_IN_QUEUE"'
CLASSIFY = 'SERVER, method="classwire.v1.ClassifyService/Classify", code="OK"'
WITH_TEXTS = 'method=~".+/(Classify|BatchClassify|Rank|ZeroShotClassify|ModelInfer)"'
CALL_SECONDS = "classwire_call_duration_seconds"


def quantile(share: float, metric: str, selector: str, by: str) -> Query:
    """Return a quantile of a histogram, by these labels."""
    labels = ", ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return Query(
        f"histogram_quantile({share}, sum by ({by}, le) "
        f"(rate({metric}_bucket{{{selector}}}[WINDOW])))",
        f"p{share * 100:.0f} {labels}",
    )


def mean(metric: str, legend: str, by: str = "model") -> Query:
    """Return the mean of a histogram."""
    return Query(
        f"sum by ({by}) (rate({metric}_sum{{MODEL}}[WINDOW])) "
        f"/ sum by ({by}) (rate({metric}_count{{MODEL}}[WINDOW]))",
        legend,
    )


def rate(metric: str, legend: str, by: str = "model", selector: str = "MODEL") -> Query:
    """Return the rate of a counter per second."""
    return Query(f"sum by ({by}) (rate({metric}{{{selector}}}[WINDOW]))", legend)


def share_failed() -> Query:
    """Return the share of texts that failed because of the server."""
    failed = "classwire_text_failures_total"
    return Query(
        f"sum(rate({failed}{{MODEL, {SERVER_FAULT}}}[WINDOW])) "
        "/ (sum(rate(classwire_texts_total{MODEL}[WINDOW])) "
        f"+ sum(rate({failed}{{MODEL}}[WINDOW])))",
        "share",
    )


def share_overloaded() -> Query:
    """Return the share of calls with texts that got OVERLOADED.

    It counts calls, because the server rejects most of them before it knows their texts.
    """
    calls = f"classwire_calls_total{{SERVER, {WITH_TEXTS}"
    return Query(
        f'sum(rate({calls}, reason="OVERLOADED"}}[WINDOW])) / sum(rate({calls}}}[WINDOW]))',
        "share",
    )
