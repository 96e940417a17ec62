"""The HTTP API: one module per noun, each with its `routes`."""
