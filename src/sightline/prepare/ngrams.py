"""One- and two-word n-grams of texts, found without scikit-learn, and the same as its `CountVectorizer` finds."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np

TOKENS = r"(?u)\b\w+\b"


class NGrams:
    """Looks the n-grams of texts up in a vocabulary.

    Args:
        vocabulary: The known n-grams, in lower case, in the order of the columns.

    Example:
        >>> from sightline.prepare.ngrams import NGrams
        >>> NGrams(["red wine", "wine", "beer"]).places("Red WINE, red wine!")
        [0, 1]
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.width = len(vocabulary)
        self._place = {word: place for place, word in enumerate(vocabulary)}
        self._tokens = re.compile(TOKENS)

    def places(self, text: str) -> list[int]:
        """Return the places of the n-grams that occur in a text, sorted, each once."""
        words = self._tokens.findall(text.lower())
        grams = itertools.chain(words, map(" ".join, itertools.pairwise(words)))
        place = self._place
        return sorted({place[gram] for gram in grams if gram in place})


class FoundNGrams:
    """The n-grams of some texts.

    Args:
        ngrams: Looks them up.
        texts: Each is looked at once.
    """

    def __init__(self, ngrams: NGrams, texts: Sequence[str]) -> None:
        found = [ngrams.places(text) for text in texts]
        self.width = ngrams.width
        self._ends = np.cumsum([0, *map(len, found)])
        self._places = np.fromiter(itertools.chain.from_iterable(found), np.intp, self._ends[-1])

    def rows(self, texts: np.ndarray) -> np.ndarray:
        """Return 1 or 0 for each n-gram of the vocabulary, float64 [rows, n-grams].

        Args:
            texts: Which texts, by number, [rows].
        """
        block = np.zeros((len(texts), self.width))
        starts, ends = self._ends[texts], self._ends[texts + 1]
        counts = ends - starts
        row = np.repeat(np.arange(len(texts)), counts)
        within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        block[row, self._places[np.repeat(starts, counts) + within]] = 1.0
        return block
