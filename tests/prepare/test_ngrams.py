import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from sightline.prepare.ngrams import TOKENS, FoundNGrams, NGrams

TEXTS = st.lists(
    st.text(st.sampled_from("aB1 _-.,éÄßİıſﬁ日本語कि'\n\u0301\u200d"), max_size=14)
    | st.text(st.characters(codec="utf-8"), max_size=10),
    min_size=1, max_size=6,
)  # fmt: skip


@given(TEXTS)
@example(["İstanbul ISTANBUL", "straße STRASSE", "ﬁne fine"])
@example(["", " ", "..."])
def test_they_are_those_that_scikit_learn_finds(texts):
    counter = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=TOKENS)
    try:
        expected = counter.fit_transform(texts).toarray()
    except ValueError:  # no text holds a word
        assert all(NGrams(["a"]).places(text) == [] for text in texts)
        return
    found = FoundNGrams(NGrams(counter.get_feature_names_out().tolist()), texts)
    assert np.array_equal(found.rows(np.arange(len(texts))), expected)
    back = np.arange(len(texts))[::-1]
    assert np.array_equal(found.rows(back), expected[::-1])


def test_rows_may_be_none():
    found = FoundNGrams(NGrams(["a", "b"]), ["a b", ""])
    assert found.rows(np.array([], np.int64)).shape == (0, 2)
    assert found.rows(np.array([1, 0, 1])).tolist() == [[0, 0], [1, 1], [0, 0]]
