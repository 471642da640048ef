"""A graph of one chunk while it is written, and where time is in each of its values."""
