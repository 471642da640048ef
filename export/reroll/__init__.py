"""Python loops over time, found in what torch unrolls and written as one call each."""
