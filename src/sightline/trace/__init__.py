"""The record of a run (append-only JSON lines), the lesson in it, and the terminal's view of it.

Views compute nothing: every number, sentence and explanation they show is in the records.
"""
