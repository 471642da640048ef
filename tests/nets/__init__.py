"""Models, graphs and artifacts that several tests share: one kind of model a file."""
