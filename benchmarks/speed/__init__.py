"""Clocks, rooflines and peers of what measures speed."""
