"""Coins and diamonds in the wallet store."""
