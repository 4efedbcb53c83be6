"""BatchClassify: an outcome for each text, in their order."""

from collections.abc import Mapping

from . import texts
from .calls import batch, text
from .encoding import Json
from .reference import Reference


def vectors(models: Mapping[str, Reference]) -> list[Json]:
    """The group `batches`."""
    stars, topics = models["stars-en"], models["topics"]
    good = [text(value) for value in list(texts.PLAIN.values())[:6]]
    bad = [text(""), text("  "), text("x" * 2_049), text(texts.words(40))]
    return [
        batch("no text", stars, []),
        batch("one text", stars, good[:1]),
        batch("several texts", stars, good),
        batch("as many as may be", stars, [text(f"number {place}") for place in range(16)]),
        batch("the same text several times", stars, [good[0], good[1], good[0], good[0]]),
        batch("one bad text", stars, [good[0], text(" "), good[1]]),
        batch("bad texts of each kind among good ones", topics, [good[1], *bad, good[2]]),
        batch("bad texts only", topics, bad),
        batch("an input without a text", stars, [good[0], {}, good[1]]),
        batch("lengths far apart", stars, [text("ok"), text(texts.words(200)), text("fine")]),
        batch(
            "several scripts", stars, [text(value) for value in list(texts.UNICODE.values())[:16]]
        ),
        batch("tokens", topics, [good[1], text(""), good[2]], {"includeTokens": True}),
        batch("logits", topics, [good[1], good[2]], {"includeLogits": True, "topK": 1}),
        batch("bulk", stars, good[:3], {"priority": "PRIORITY_BULK"}),
        *(batch(f"the model {name}", model, good[:3]) for name, model in models.items()),
    ]
