"""A crowd to try a server with, and the figures of loadtest/README.md. Knows only the protocol."""
