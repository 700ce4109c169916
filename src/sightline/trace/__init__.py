"""The records of a run: writing, reading and comparing them."""
