"""Runs what a test has written into a graph."""

import numpy as np

from sightline.export.graph import Graph
from sightline.export.preparation import Prepared


class Written:
    """A graph whose inputs are features and codes, as the preparation leaves them."""

    def __init__(self, width, categories=0):
        self.graph = Graph()
        self.width, self.categories = width, categories
        features = self.graph.input("x", np.float32, [width])
        codes = self.graph.input("codes", np.int64, [categories]) if categories else None
        self.prepared = Prepared(features, codes, width, categories)

    def run(self, tensor, dtype, rank, x, codes=None):
        """Return the values of a tensor for features [N, D] and codes [N, C]."""
        self.graph.output("result", tensor, dtype, [f"d{i}" for i in range(rank - 1)])
        inputs = {"x": np.asarray(x, np.float32)}
        if self.categories:
            inputs["codes"] = np.asarray(codes, np.int64)
        return run(self.graph.model(), "result", inputs)


def run(model, output, inputs):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run([output], inputs)[0]
