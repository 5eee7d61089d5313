"""What differs between two texts, word by word."""

import re
from difflib import SequenceMatcher
from typing import Final, NamedTuple

#: So many words, or else lines, are compared with each other: at worst, it takes time by their cube.
MOST: Final = 300

_WORDS: Final = re.compile(r"\w+\s*|[^\w\s]+\s*|\s+")
_LINES: Final = re.compile(r".*\n|.+")


class Part(NamedTuple):
    """A piece of a text; `is_different` if the other text does not have it."""

    text: str
    is_different: bool


def diff(old: str, new: str) -> tuple[list[Part], list[Part]]:
    """Both texts in parts: word by word, if they are not too long, or line by line, or at once."""
    for units in (_WORDS, _LINES):
        olds, news = units.findall(old), units.findall(new)
        start, end = _common(olds, news)
        if max(len(olds), len(news)) - start - end <= MOST:
            return _compared(olds, news, start, end)
    return [Part(old, True)] if old else [], [Part(new, True)] if new else []


def _common(olds: list[str], news: list[str]) -> tuple[int, int]:
    """How many units are the same at the beginning and at the end: of a long text, most."""
    least = min(len(olds), len(news))
    start = next((place for place in range(least) if olds[place] != news[place]), least)
    rest = least - start
    end = next((place for place in range(rest) if olds[-1 - place] != news[-1 - place]), rest)
    return start, end


def _compared(olds: list[str], news: list[str], start: int, end: int) -> tuple[list[Part], list[Part]]:
    middles = olds[start : len(olds) - end], news[start : len(news) - end]
    befores, afters = [Part("".join(olds[:start]), False)], [Part("".join(news[:start]), False)]
    for kind, i, j, k, m in SequenceMatcher(None, *middles, autojunk=False).get_opcodes():
        befores.append(Part("".join(middles[0][i:j]), kind != "equal"))
        afters.append(Part("".join(middles[1][k:m]), kind != "equal"))
    befores.append(Part("".join(olds[len(olds) - end :]), False))
    afters.append(Part("".join(news[len(news) - end :]), False))
    return [part for part in befores if part.text], [part for part in afters if part.text]
