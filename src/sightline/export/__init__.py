"""Models as ONNX graphs: the graph, the preparation, the networks and the trees, written with `onnx.helper`."""
