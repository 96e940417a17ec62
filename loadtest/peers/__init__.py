"""Other servers, measured beside ours with the same audience, the same load and the same core."""
