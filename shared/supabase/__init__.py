"""The project's database and Storage as a client reaches them."""
