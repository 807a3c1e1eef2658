"""Supabase Auth's HTTP API under /auth/v1, as far as signing in needs it."""

from local.gateway.auth.routes import routes

__all__ = ["routes"]
