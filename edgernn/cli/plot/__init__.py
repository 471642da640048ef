"""The picture of a run that `edgernn run --plot` draws."""
