"""How good a model is: what needs the model, its rows and other models beside it."""
