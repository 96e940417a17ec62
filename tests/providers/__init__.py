"""Tests of the providers that carry payouts."""
