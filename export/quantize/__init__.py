"""Writes weights in fewer bits; entry `to_int8()`."""
