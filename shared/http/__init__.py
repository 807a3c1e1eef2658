"""The HTTP handlers' parts that both functions share."""
