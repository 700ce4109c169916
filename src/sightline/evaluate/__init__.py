"""How good a model is: metrics, curves, explanations and simple models to compare with."""
