"""What the host platform orders of wallets: each is written down first, and carried out once."""
