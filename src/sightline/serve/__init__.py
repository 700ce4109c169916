"""Models over HTTP: `sightline serve`.

A supervisor (`supervisor.py`) starts worker processes (`worker.py`), each with the web application (`app.py`), and
tells them which models to answer with.
"""
