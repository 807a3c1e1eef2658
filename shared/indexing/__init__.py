"""From a webhook or a kick to a stored vector."""
