"""Every table and figure of the paper, with intervals and a verdict: ``recsim-drpo reproduce``."""
