"""The records of a run: a line of the trace, and the typed body of each type of record.

`record.py` holds the line itself. A file for each stage declares the bodies as `TypedDict`s, and
`bodies.py` lists them by (stage, type). Neither torch nor the bodies are imported here: reading a
line needs neither.
"""

from sightline.contracts.records.record import EpochRecord, Event, EventType, Record

__all__ = ["EpochRecord", "Event", "EventType", "Record"]
