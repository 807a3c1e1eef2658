"""Putting the project into a database and taking it out, through a direct connection."""
