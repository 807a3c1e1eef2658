"""The output of commands: tables, progress, reports."""
