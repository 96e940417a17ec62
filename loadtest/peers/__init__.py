"""Servers of others, started to be measured beside ours: the same audience, the same load, the same core."""
