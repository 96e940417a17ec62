"""The Valkey/Redis stores: keys, scripts, a connection of our own, and the embedded servers."""
