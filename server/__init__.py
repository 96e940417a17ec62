"""Liveroom's server: live rooms, gifts that are money, overlays."""

from protocol import __version__ as __version__
