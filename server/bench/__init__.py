"""Measurements of the money path, made by hand: `python -m server.bench spend` and `python -m server.bench drain`."""
