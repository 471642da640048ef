"""The lines of the model's own code: which one something came from, and what they do."""
