"""Texts that often cause defects: kinds of Unicode, of white space, of length."""

import itertools

PLAIN = {
    "a sentence": "I really love this book",
    "one word": "ok",
    "one letter": "a",
    "a number": "10/10",
    "punctuation only": "!!! ... ???",
    "capitals": "THE WORST HOTEL EVER",
    "two sentences": "Nice colour, but it runs small. The seams feel cheap.",
    "hyphens and quotes": "It's a well-made, \"must-have\" e-reader; don't hesitate.",
    "an address": "See https://example.org/a?b=c&d=e#f or write to me@example.org",
    "markup": '<p class="x">Not &amp; <b>bold</b></p>',
    "names of special tokens": "a [SEP] b [MASK] c [PAD] </s> <s>",
    "a line break": "First line\nsecond line\r\nthird line",
    "tabs and spaces": "\t  far \t apart  ",
}

UNICODE = {
    "accents, composed": "D\u00e9j\u00e0 vu, tr\u00e8s \u00e9l\u00e9gant",
    "accents, decomposed": "De\u0301ja\u0300 vu, tre\u0300s e\u0301le\u0301gant",
    "several marks on a letter": "Z\u0351\u036b\u0343a\u0363\u0368\u034fl\u0320go",
    "a ligature and fractions": "\ufb01ne \u00bd \u2460 \u2122",
    "full width": "\uff27\uff4f\uff4f\uff44\u3000\uff42\uff4f\uff4f\uff4b",
    "German": "Stra\u00dfe, \u1e9e, gr\u00f6\u00dfte Gef\u00fchle",
    "Turkish": "\u0130stanbul \u0131s\u0131",
    "Greek, with a final sigma": "\u039f\u03b4\u03c5\u03c3\u03c3\u03b5\u03cd\u03c2",
    "Cyrillic": "\u041e\u0447\u0435\u043d\u044c \u0445\u043e\u0440\u043e\u0448\u043e",
    "Chinese": "\u8fd9\u672c\u4e66\u5f88\u597d\uff0c\u6211\u559c\u6b22",
    "Japanese": "\u3068\u3066\u3082\u826f\u3044\u30c7\u30b6\u30a4\u30f3\u3067\u3059",
    "Korean, syllables": "\uc815\ub9d0 \uc88b\uc544\uc694",
    "Korean, letters": "\u110c\u1165\u11bc\u1106\u1161\u11af",
    "beyond the first plane": "\U00020bb7\u91ce\u5bb6 \U0001d54f \U00010348",
    "Arabic": "\u0643\u062a\u0627\u0628 \u062c\u0645\u064a\u0644 \u062c\u062f\u064b\u0627",
    "Hebrew, with points": "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd",
    "Hindi": "\u0905\u091a\u094d\u091b\u0940 \u0915\u093f\u0924\u093e\u092c",
    "Thai": "\u0e2b\u0e19\u0e31\u0e07\u0e2a\u0e37\u0e2d\u0e14\u0e35\u0e21\u0e32\u0e01",
    "an override of direction": "good \u202edab\u202c end \u2067x\u2069",
    "an emoji": "Great \U0001f600!",
    "a family, joined": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 trip",
    "a skin tone": "ok \U0001f44d\U0001f3fd",
    "a flag": "from \U0001f1e9\U0001f1ea with love",
    "a keycap": "number 1\ufe0f\u20e3",
    "a variation selector": "I \u2764\ufe0f it, \u2764\ufe0e it",
    "a joiner and a non-joiner": "a\u200cb a\u200db a\u2060b",
    "a soft hyphen": "extra\u00adordinary",
    "a byte order mark": "\ufeffgood \ufeff book",
    "the replacement character": "caf\ufffd was good",
    "private use and no character": "a\ue000b \uffff \U0010ffff",
    "NUL": "good\u0000book \u0000",
    "control characters": "go\u0001od\u0007 b\u001book\u007f \u0085next",
    "kinds of white space": "a\u00a0b\u2003c\u2009d\u202fe\u3000f\u2028g\u2029h",
    "a zero-width space": "good\u200bbook",
    "mathematical letters": "\U0001d4d6\U0001d4f8\U0001d4f8\U0001d4ed stuff",
}

BLANK = {
    "spaces": "   ",
    "tabs and line breaks": "\t\r\n",
    "a no-break space": "\u00a0",
    "an ideographic space": "\u3000\u3000",
    "an em space and a line separator": "\u2003\u2028",
}

NEARLY_EMPTY = {
    "only NUL": "\u0000",
    "only a byte order mark": "\ufeff",
    "only a zero-width space": "\u200b",
    "only a combining mark": "\u0301",
}
"""Not blank, but a tokenizer may find no tokens in them."""

LONG_WORDS = {
    "a long word": "pneumonoultramicroscopicsilicovolcanoconiosis",
    "a word that is too long": "a" * 150,
    "no space anywhere": "good,bad;good,bad;" * 6,
}

SENTENCE = "the room was clean and the staff rude but it was fine I suppose nothing special"
"""Each of its words is in the vocabularies of the tiny checkpoints."""


def words(count: int, start: int = 0) -> str:
    """Return `count` words of the sentence, repeated, from word `start` on."""
    every = itertools.cycle(SENTENCE.split())
    return " ".join(itertools.islice(every, start, start + count))
