"""Liveroom's server: live rooms, gifts that are money, overlays."""

__version__ = "0.1.0"
