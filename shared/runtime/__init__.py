"""The needs of any process that serves: logs, metrics, bounds, its models."""
