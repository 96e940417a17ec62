"""The journal in SQL: what happened with the money, insert-only."""
