"""Stage 5, predict: raw rows become labels and probabilities.

`task` gives logits their meaning, `parts` lists the network and the boosted trees, `calibration` weighs
them. `predictor` takes prepared tensors, `model` takes tables; `explain` follows single rows; `bundle`
is the file.
"""
