"""Stage 5, predict: raw rows become labels and probabilities, and the path is shown.

`task` gives logits their meaning, `model` carries everything a prediction needs, `path` follows
one row through the layers.
"""
