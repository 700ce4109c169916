"""Runs what a test has written into a graph."""

import numpy as np

from sightline.export.graph import Graph
from sightline.export.preparation import Prepared


class Written:
    """A graph whose inputs are features and codes, as the preparation leaves them; without numbers the features are [N, 0]."""

    def __init__(self, width, categories=0):
        self.graph = Graph()
        self.width, self.categories = width, categories
        codes = self.graph.input("codes", np.int64, [categories]) if categories else None
        if width:
            features = self.graph.input("x", np.float32, [width])
        else:
            shape = self.graph.op("Shape", codes, start=0, end=1)
            shape = self.graph.op("Concat", shape, self.graph.constant([0], np.int64), axis=0)
            features = self.graph.op("ConstantOfShape", shape)
        self.prepared = Prepared(features, codes, width, categories)

    def run(self, tensor, dtype, rank, x, codes=None):
        """Return the values of a tensor for features [N, D] and codes [N, C]."""
        self.graph.output("result", tensor, dtype, [f"d{i}" for i in range(rank - 1)])
        inputs = {"x": np.asarray(x, np.float32)} if self.width else {}
        if self.categories:
            inputs["codes"] = np.asarray(codes, np.int64)
        return run(self.graph.model(), "result", inputs)


def run(model, output, inputs):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run([output], inputs)[0]
