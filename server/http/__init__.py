"""The HTTP API: one module per noun, each with its `routes`. Features may have theirs; `api` is what all share."""
