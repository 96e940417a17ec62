"""Sockets, sessions, and admission."""
