"""The files that `edgernn run` reads and writes."""
