"""Stage 1, load: sources become typed columns, split into training, validation and test rows.

Read in this order: `table` (`read` and `Table`), `split` (`split` and `Splits`, with `roles`,
`target`, `divide` and `folds`), `batches`; below them `sources` (which opens `delimited`,
`json_rows` or `memory`: bytes to raw columns), `kinds` and `text_kinds` (each column's kind and the
reason), `values` (text to numbers and dates).
"""
