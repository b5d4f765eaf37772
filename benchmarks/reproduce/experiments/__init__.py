"""The paper's tables and figures that compare agents, one file each."""
