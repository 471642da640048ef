"""The user's data: what the model makes of it, before and after the export."""
