"""Sockets, sessions, and who is let in."""
