"""The sequence graph of a model that is one step: operators or a Scan over time."""
