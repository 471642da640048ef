"""Writes the forms of graphs that run faster at some sizes; entry `make_forms()`."""
