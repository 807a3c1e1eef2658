"""PostgREST's HTTP API under /rest/v1, for the schema `public`."""

from local.gateway.rest.routes import routes

__all__ = ["routes"]
