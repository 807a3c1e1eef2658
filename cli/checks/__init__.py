"""The checks of `neural-search doctor`, one module per part.

Each module's `checks` gives groups of checks by name, each group with why it can't be run, or an empty
string. A check returns its finding, or raises an error with the remedy.
"""
