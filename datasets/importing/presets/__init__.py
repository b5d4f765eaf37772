"""Logs with formats of their own: each turned into a table, its columns and its items."""
