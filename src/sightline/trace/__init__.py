"""The record of a run: append-only JSON lines, their reader, and how two runs differ."""
