"""The paper's propositions and theorems, as experiments."""
