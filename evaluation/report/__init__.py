"""The report: tables for the terminal, JSON for programs, and a page for people."""
