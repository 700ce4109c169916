"""The command `sightline`: parse, call the API, print."""
