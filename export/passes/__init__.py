"""Passes over finished graphs: one file, one pass, one exported name; all of them in place."""
