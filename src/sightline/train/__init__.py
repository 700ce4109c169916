"""Stage 4, train: an ordinary loop, and what watches it.

`training` holds the loop; `observations` puts an epoch's numbers into words; `glass` records one
step whole; `plan` decides device, batch size and threads.
"""
