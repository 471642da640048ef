"""An example call of a model, and which of its axes take other sizes."""
