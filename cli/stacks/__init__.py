"""Embedded stacks that commands start or find."""
