"""What `neural-search models` does, step by step."""
