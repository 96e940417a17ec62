"""What runs: the supervisor, nodes, the journal process, and the checks before a start."""
