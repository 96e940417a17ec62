"""Where viewers arrive: bytes become commands, and errors become replies or closes."""
