"""Where rows belong, piece by piece."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sightline.load.places import PARTS, TRAIN, Places


@given(st.lists(st.integers(0, len(PARTS) - 1), max_size=30), st.integers(1, 7))
def test_the_pieces_of_places_are_the_places(part, size):
    part = np.array(part, np.uint8)
    whole = Places(part, part % 2, part / 3)
    trained, numbers = 0, []
    for start in range(0, len(part), size):
        piece = whole.cut(start, size, trained)
        assert (piece.start, piece.trained, piece.rows) == (
            start,
            trained,
            len(part[start : start + size]),
        )
        again = piece.cut(1, size, len(Places(piece.part[:1]).train))
        assert (again.start, again.trained) == (start + 1, trained + int(part[start] == TRAIN))
        assert piece.fold.tolist() == (part[start : start + size] % 2).tolist()
        numbers += (piece.train + piece.start).tolist()
        trained += len(piece.train)
    assert numbers == np.flatnonzero(part == TRAIN).tolist()


def test_places_without_folds_and_weights():
    piece = Places(np.zeros(3, np.uint8)).cut(1, 2, 1)
    assert (piece.fold, piece.weights, piece.rows) == (None, None, 2)
