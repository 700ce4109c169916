"""Stage 5, predict: raw rows become labels and probabilities.

`task` defines the loss and turns logits into predictions, `parts` lists the network and the boosted
trees, `calibration` weights them. `predictor` takes prepared tensors, `model` takes tables;
`explain` follows single rows; `bundle` is the file.
"""
