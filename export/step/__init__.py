"""The step graph: one time index, then primitive operators."""
