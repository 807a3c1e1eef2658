"""What a process needs whatever it serves: logs, metrics, bounds, the models that it has loaded."""
