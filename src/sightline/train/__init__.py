"""Stage 4, train: the loop, its state, and what observes it.

In the order in which a reader needs them: `training.py` is the loop and `state.py` what it changes;
`data.py` holds the rows, and `plan.py` decides how they are trained on; `epochs.py` ends an epoch,
`edits.py` changes a training between two steps, `health.py` recovers from bad losses;
`checkpoints.py` writes the state into a file and restores it; `commands.py` and `watch.py` bring
edits from other processes and from a saved source file.
"""
