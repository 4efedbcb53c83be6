"""TF-IDF with logistic regression: the baseline of the checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion

from training.data import Review
from training.labels import class_weights, labels_of
from training.metrics import Labels, Probabilities, Quality, quality
from training.stages import Log

STRENGTHS = (1.0, 2.0, 4.0)
BALANCES = (0.5, 1.0)


@dataclass(frozen=True)
class Setting:
    """`strength` is scikit-learn's C; class weights are inverse shares to the power `balance`."""

    strength: float
    balance: float


@dataclass(frozen=True)
class Run:
    """A setting, its quality on validation, and its class probabilities on other sets."""

    setting: Setting
    validation: Quality
    probabilities: dict[str, Probabilities]


def features() -> FeatureUnion:
    """Return features: word 1-2-grams and character 2-5-grams within words, sublinear TF-IDF."""
    return FeatureUnion(
        [
            ("words", TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)),
            (
                "characters",
                TfidfVectorizer(
                    analyzer="char_wb", ngram_range=(2, 5), min_df=5, sublinear_tf=True
                ),
            ),
        ]
    )


def regression(labels: Labels, setting: Setting) -> LogisticRegression:
    """Return a multinomial logistic regression that is not fitted yet."""
    return LogisticRegression(
        C=setting.strength,
        class_weight=class_weights(labels, setting.balance),
        max_iter=200,
        tol=1e-3,
    )


def tune(
    train: Sequence[Review], validation: Sequence[Review], held_out: Sequence[Review], log: Log
) -> list[Run]:
    """Fit every setting on `train`; each run stores its probabilities on the other two sets."""
    vectors = features()
    seen = vectors.fit_transform([review.full_text for review in train])
    others = {
        "validation": vectors.transform([review.full_text for review in validation]),
        "test": vectors.transform([review.full_text for review in held_out]),
    }
    truth = labels_of(validation)
    runs = []
    for balance in BALANCES:
        for strength in STRENGTHS:
            setting = Setting(strength, balance)
            model = regression(labels_of(train), setting).fit(seen, labels_of(train))
            probabilities = {name: model.predict_proba(matrix) for name, matrix in others.items()}
            run = Run(
                setting, quality(truth, probabilities["validation"].argmax(axis=1)), probabilities
            )
            log(f"baseline {setting} validation {run.validation.rounded()}")
            runs.append(run)
    return runs
