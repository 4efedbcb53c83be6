"""Defines the metrics of what models say, and of their shadows."""

from classwire_server.aggregates import SCORES
from classwire_server.registry.predictions.reference import MAX_LABELS, OTHER_LABELS

from .model_definitions import Metric

LABELS = Metric(
    "classwire_labels_total",
    "counter",
    "Texts of Classify, BatchClassify, StreamClassify and ModelInfer by their highest label, one "
    "for each text, also of a multi-label model. A label is a name in the checkpoint's config. "
    f"Labels whose ids are {MAX_LABELS} or more count as `{OTHER_LABELS}`. Series of all labels "
    "exist from the start.",
    ("model", "label"),
)
HIGHEST_SCORE = Metric(
    "classwire_highest_score",
    "histogram",
    "Highest score of a text, by the model's own activation. Not for regression.",
    ("model",),
    SCORES,
)
SCORE_MARGIN = Metric(
    "classwire_score_margin",
    "histogram",
    "Difference between the two highest scores of a text. Not for models with one label.",
    ("model",),
    SCORES,
)
STABILITY_INDEX = Metric(
    "classwire_label_stability_index",
    "gauge",
    "Population stability index: distance of the labels in the last --distribution-window-s from "
    "--reference-distribution. 0: the same shares. No value below 200 texts, or 50 for each label "
    "but one if that is more.",
    ("model",),
)
WINDOW_TEXTS = Metric(
    "classwire_label_window_texts",
    "gauge",
    "Texts in that window. Only with --reference-distribution.",
    ("model",),
)

_SHADOW = ("model", "shadow")
SHADOW_TEXTS = Metric(
    "classwire_shadow_texts_total",
    "counter",
    "Texts for a shadow (--shadow). agreed: the same highest label; differed: another one; shed: "
    "the server had other work; failed: the shadow could not score the text.",
    (*_SHADOW, "comparison"),
)
SHADOW_DIFFERENCE = Metric(
    "classwire_shadow_score_difference",
    "histogram",
    "Difference between the highest score of a text and the shadow's score of the same label.",
    _SHADOW,
    SCORES,
)
SHADOW_RUNNING = Metric(
    "classwire_shadow_running",
    "gauge",
    "1 while the shadow runs. 0 after its model has failed or was unloaded, until it is loaded "
    "again.",
    _SHADOW,
)

PREDICTIONS = (
    LABELS,
    HIGHEST_SCORE,
    SCORE_MARGIN,
    STABILITY_INDEX,
    WINDOW_TEXTS,
    SHADOW_TEXTS,
    SHADOW_DIFFERENCE,
    SHADOW_RUNNING,
)
"""All metrics of predictions, as in the documentation."""
