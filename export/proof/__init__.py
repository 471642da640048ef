"""Graphs against their reference."""
