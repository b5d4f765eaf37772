"""The commands of ``recsim-drpo``."""

from recsim_drpo.cli.app import main

__all__ = ["main"]
