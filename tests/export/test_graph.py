"""An ONNX graph while it is written."""

import builtins

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import OptionError
from sightline.export.graph import Graph
from tests.export.running import run

FINITE = {
    np.float32: st.floats(-(2.0**127), 2.0**127, width=32),
    np.float64: st.floats(-(2.0**1023), 2.0**1023),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("below", [False, True])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_search_is_that_of_numpy_to_the_last_bit(dtype, below, data):
    """Values at a cut, next to it on both sides, and far from all."""
    columns = data.draw(st.integers(1, 4))
    cuts = [
        np.unique(np.array(data.draw(st.lists(FINITE[dtype], max_size=9)), dtype)) + dtype(0)
        for _ in range(columns)
    ]
    rows = []
    for own in cuts:
        near = [np.nextafter(own, dtype(way)) for way in (-np.inf, np.inf)]
        values = np.concatenate([own, *near, np.array([0, -0.0, np.finfo(dtype).max], dtype)])
        rows.append(np.resize(values[np.isfinite(values)], 30))
    x = np.stack(rows, axis=1)
    graph = Graph()
    found = graph.search(
        graph.input("x", dtype, [columns]), cuts, dtype, below=below,
        leaf=lambda column, count: 100 * column + count,
    )  # fmt: skip
    graph.output("place", found, dtype, [columns])
    side = "left" if below else "right"
    wanted = [100 * i + np.searchsorted(own, x[:, i], side=side) for i, own in enumerate(cuts)]
    np.testing.assert_array_equal(run(graph.model(), "place", {"x": x}), np.stack(wanted, axis=1))


def test_equal_constants_are_kept_once_and_scalars_stay_scalars():
    graph = Graph()
    assert graph.constant(1.5) == graph.constant(np.float64(1.5))
    assert len({graph.constant(1.5), graph.constant([1.5]), graph.constant(1.5, np.float32)}) == 3
    x = graph.input("x", np.float64, [2])
    column = graph.op("Gather", x, graph.constant(1, np.int64), axis=1)
    graph.output("second", column, np.float64, [])
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert run(graph.model(), "second", {"x": rows}).tolist() == [2.0, 4.0]


def test_a_graph_that_is_wrong_is_refused():
    graph = Graph()
    x = graph.input("x", np.float64, [2])
    graph.output("y", graph.op("Add", x, graph.constant([1, 2], np.int64)), np.float64, [2])
    with pytest.raises(Exception, match="Add"):
        graph.model()


def test_without_onnx_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "onnx":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OptionError, match=r'pip install "sightline\[onnx\]"'):
        Graph()
