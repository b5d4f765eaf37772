"""The paper's propositions and theorems, as experiments."""

COMMAND = "recsim-drpo reproduce theory"
"""What runs the experiments of Section 3, Section 4 and Appendix F."""
