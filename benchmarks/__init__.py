"""Measurements: ``python -m recsim_drpo.benchmarks.NAME``."""
