"""Tests on real stores and real sockets, in the protocol's words."""
