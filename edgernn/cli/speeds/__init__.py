"""What `edgernn bench` measures, and how it is shown."""
