"""Orders of the host platform about wallets: each is first recorded in SQL, then carried out once."""
