"""Python loops over time, found in what torch.export unrolls and written as one call each."""
