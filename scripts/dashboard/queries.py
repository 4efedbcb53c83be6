"""Queries of the kinds that the rows have many of."""

from .panel import Query

OUR_FAULT = 'reason=~"INTERNAL|POISON_INPUT|WORKER_LOST|EXPIRED_IN_QUEUE"'
CLASSIFY = 'SERVER, method="classwire.v1.ClassifyService/Classify", code="OK"'
WITH_TEXTS = 'method=~".+/(Classify|BatchClassify|ModelInfer)"'
CALL_SECONDS = "classwire_call_duration_seconds"


def quantile(share: float, metric: str, selector: str, by: str) -> Query:
    """A quantile of a histogram, with the labels `by` in its legend."""
    labels = ", ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return Query(
        f"histogram_quantile({share}, sum by ({by}, le) "
        f"(rate({metric}_bucket{{{selector}}}[WINDOW])))",
        f"p{share * 100:.0f} {labels}",
    )


def mean(metric: str, legend: str, by: str = "model") -> Query:
    """What a histogram of a model saw, on average."""
    return Query(
        f"sum by ({by}) (rate({metric}_sum{{MODEL}}[WINDOW])) "
        f"/ sum by ({by}) (rate({metric}_count{{MODEL}}[WINDOW]))",
        legend,
    )


def rate(metric: str, legend: str, by: str = "model", selector: str = "MODEL") -> Query:
    """How often a counter counts in a second."""
    return Query(f"sum by ({by}) (rate({metric}{{{selector}}}[WINDOW]))", legend)


def share_failed() -> Query:
    """The share of all texts that got an error by our own fault."""
    failed = "classwire_text_failures_total"
    return Query(
        f"sum(rate({failed}{{MODEL, {OUR_FAULT}}}[WINDOW])) "
        "/ (sum(rate(classwire_texts_total{MODEL}[WINDOW])) "
        f"+ sum(rate({failed}{{MODEL}}[WINDOW])))",
        "share",
    )


def share_refused() -> Query:
    """The share of all calls with texts that were refused since there is too much to do: of most
    of them the server has not seen the texts.
    """
    calls = f"classwire_calls_total{{SERVER, {WITH_TEXTS}"
    return Query(
        f'sum(rate({calls}, reason="OVERLOADED"}}[WINDOW])) / sum(rate({calls}}}[WINDOW]))',
        "share",
    )
