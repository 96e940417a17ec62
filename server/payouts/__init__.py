"""Payouts: diamonds that leave as money, from the request to the provider's last answer."""
