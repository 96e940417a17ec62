"""Rooms, on one node and on several, on one store and on a cluster."""
