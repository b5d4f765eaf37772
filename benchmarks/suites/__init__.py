"""Suites of logs, versioned, that agents are compared on: ``recsim-drpo benchmark``."""
