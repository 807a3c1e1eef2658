"""Storage's HTTP API under /storage/v1."""

from local.gateway.storage.routes import routes

__all__ = ["routes"]
