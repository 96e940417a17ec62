"""Keys and scripts."""
