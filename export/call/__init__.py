"""An example call of a model's forward: its inputs, the axes that vary, lengths."""
