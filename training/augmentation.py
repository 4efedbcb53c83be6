"""Views of a review that teach praise and blame rather than clothes."""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.data import Review, join

_WORD = re.compile(r"[a-z]+", re.IGNORECASE)
# Frequent opinions whose reviews have about the mean stars of all reviews.
_OPINIONS = frozenset((
    "attractive", "beautiful", "boring", "cute", "decent", "delicate", "disappointed",
    "exchanging", "flaws", "funky", "honestly", "hopefully", "incredible", "incredibly",
    "lovely", "nice", "nicer", "overwhelming", "pretty", "relaxed", "thrilled", "ton",
    "totally", "trend", "usual", "usually", "vibrant", "wish", "worth", "wow",
))  # fmt: skip
_FIRST_WORD_ID = 1996  # of bert-base-uncased: "the"; whole words follow by frequency


@dataclass(frozen=True)
class Words:
    """Words about the reviewed products, and words that reviews do not use."""

    product: frozenset[str]
    other: tuple[str, ...]


def learn_words(reviews: Sequence[Review], vocabulary: Mapping[str, int]) -> Words:
    """Find product words: frequent in the reviews, rarer in English, and neutral in stars.

    `vocabulary` has ids that rise as words become rarer in English.
    """
    counts: Counter[str] = Counter()
    stars: Counter[str] = Counter()
    for review in reviews:
        for word in set(_WORD.findall(review.full_text.lower())):
            counts[word] += 1
            stars[word] += review.stars
    mean = sum(review.stars for review in reviews) / len(reviews)
    product = set()
    for rank, (word, times) in enumerate(counts.most_common()):
        rank_in_english = vocabulary.get(word, len(vocabulary)) - _FIRST_WORD_ID
        rarer = rank_in_english > 6 * (rank + 20)
        neutral = abs(stars[word] / times - mean) < 0.2
        if times >= 40 and len(word) > 2 and rarer and neutral and word not in _OPINIONS:
            product.add(word)
    other = [
        word
        for word, index in sorted(vocabulary.items(), key=lambda item: item[1])
        if _FIRST_WORD_ID + 500 < index < 14000 and word.isalpha() and word.isascii()
        if len(word) > 3 and word not in counts
    ]
    return Words(frozenset(product), tuple(other))


def replace_product_words(text: str, words: Words, generator: random.Random) -> str:
    """Return the text in lower case, with a word that reviews do not use for each product word.

    The same word has the same replacement throughout the text.
    """
    replacements: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        word = match.group()
        if word not in words.product:
            return word
        return replacements.setdefault(word, generator.choice(words.other))

    return _WORD.sub(replace, text.lower())


def view(review: Review, words: Words, generator: random.Random) -> str:
    """Return one view of a review: whole, its text, its title or some sentences.

    Half of the views have their product words replaced.
    """
    draw = generator.random()
    if draw < 0.5:
        text = review.full_text
    elif draw < 0.6:
        text = review.text
    elif draw < 0.75 and review.title:
        text = review.title
    else:
        sentences = review.sentences
        first = generator.randrange(len(sentences))
        text = " ".join(sentences[first : first + generator.randint(1, 3)])
        if generator.random() < 0.3:
            text = join(review.title, text)
    if generator.random() < 0.5:
        return replace_product_words(text, words, generator)
    return text
