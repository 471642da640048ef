"""The lines of the model's own code: where something happens, and what they decide."""
