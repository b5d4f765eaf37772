"""Logging simulated rounds and sessions."""
