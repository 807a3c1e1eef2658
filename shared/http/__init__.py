"""What both functions' HTTP handlers share."""
