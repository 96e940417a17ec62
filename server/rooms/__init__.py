"""Rooms: their members, their events, and the events' path from the store to the sockets."""
