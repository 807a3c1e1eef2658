"""Resumable uploads: the TUS protocol, version 1.0.0, as Storage speaks it under /upload/resumable."""
