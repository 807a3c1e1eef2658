"""The target project as its clients reach it, over HTTP."""
