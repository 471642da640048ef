"""Translate time: from a torch module or file to a proven artifact. Needs the extra `export`."""
