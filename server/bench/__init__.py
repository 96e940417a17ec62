"""Benchmarks of the money path: `python -m server.bench spend` and `python -m server.bench drain`."""
