"""Rooms: who is there, what happened, and its way from the store to the sockets."""
