"""Stage 1, load: sources become typed columns, split into training, validation and test rows.

Read in this order: `table` (`read` and `Table`), `split` (`split` and `Splits`, with `roles`,
`target`, `divide` and `folds`), `batches`; below them `sources` and `delimited` (bytes to raw
columns), `kinds` (what a column is and why), `values` (text to numbers and dates).
"""
