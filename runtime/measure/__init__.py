"""Measures times of calls and the limits of a machine."""
