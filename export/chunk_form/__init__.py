"""Writes a sequence graph as one that runs chunk by chunk, with every memory as a state."""
