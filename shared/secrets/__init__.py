"""Keys, tokens and passwords: their forms, and their masking in all that is shown."""
