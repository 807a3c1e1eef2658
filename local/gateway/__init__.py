"""The embedded stack's gateway: Supabase's HTTP dialects, Storage, PostgREST and functions, over Postgres."""

from local.gateway.app import create_app

__all__ = ["create_app"]
