"""The row about what models say."""

from .panel import Panel, Query, Row
from .queries import mean, quantile, rate

PREDICTIONS = Row(
    "What does it say?",
    [
        Panel(
            "Labels",
            "Texts per second by their highest label.",
            "cps",
            [rate("classwire_labels_total", "{{label}} {{model}}", "model, label")],
            stacked=True,
        ),
        Panel(
            "Distance from the reference",
            "Population stability index of the labels in the last hour. Only for models with "
            "--reference-distribution, and with enough texts. The alert fires above 0.2.",
            "short",
            [
                Query(
                    "max by (instance, model) (classwire_label_stability_index{MODEL})",
                    "{{model}} {{instance}}",
                )
            ],
            bad=0.2,
        ),
        Panel(
            "Highest score",
            "Of a text. Half of the texts have a lower one than p50.",
            "percentunit",
            [
                quantile(share, "classwire_highest_score", "MODEL", "model")
                for share in (0.1, 0.5, 0.9)
            ],
        ),
        Panel(
            "Margin to the next score",
            "Texts with a small margin may get another label from another model.",
            "percentunit",
            [quantile(share, "classwire_score_margin", "MODEL", "model") for share in (0.1, 0.5)],
        ),
        Panel(
            "Agreement with the shadow",
            "Share of the compared texts with the same highest label.",
            "percentunit",
            [
                Query(
                    "sum by (model, shadow) (rate(classwire_shadow_texts_total"
                    '{MODEL, comparison="agreed"}[WINDOW])) '
                    "/ sum by (model, shadow) (rate(classwire_shadow_texts_total"
                    '{MODEL, comparison=~"agreed|differed"}[WINDOW]))',
                    "{{model}} and {{shadow}}",
                ),
                mean(
                    "classwire_shadow_score_difference",
                    "score difference {{model}} and {{shadow}}",
                    "model, shadow",
                ),
            ],
        ),
        Panel(
            "Texts of the shadow",
            "By what became of them. The server sheds them first, while it has other work.",
            "cps",
            [
                rate(
                    "classwire_shadow_texts_total",
                    "{{comparison}} {{shadow}}",
                    "shadow, comparison",
                ),
            ],
            stacked=True,
        ),
    ],
)
