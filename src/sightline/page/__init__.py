"""The front end: a run in a browser, live during training or as a report in one file.

report   `report` (records to one HTML file), `sampling` (what is left out), `single_file` (the HTML)
live     `launch` (started by a fit), `server` (the process), `routes` (requests), `follow` (new
         records), `guard` (who may connect), `address` (RUN/live.json)
static/  the JavaScript and CSS of both; no build step
"""
