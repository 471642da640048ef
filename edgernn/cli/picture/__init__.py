"""The picture of a model that `edgernn inspect --graph` draws."""
