"""Chooses the fastest forms of an artifact by measuring them here."""
