"""Passes over finished graphs, each in a file of its own; all of them change graphs in place."""
