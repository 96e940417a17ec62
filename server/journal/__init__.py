"""The journal in SQL: an insert-only record of all that happened to the money."""
