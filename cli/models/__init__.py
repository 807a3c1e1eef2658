"""The steps of `neural-search models`."""
