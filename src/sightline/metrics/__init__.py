"""Numbers from predictions and the truth: arrays in, numbers out."""
