"""The HTTP API: one module per noun, each with its `routes`. Features may have `routes`, too. All share `api`."""
