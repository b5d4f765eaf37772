"""Agents that learn from logged recommendations. They know nothing of the simulator."""

from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.agents.protocol import Agent, Batch
from recsim_drpo.agents.registry import agent_names, make_agent

__all__ = ["Agent", "Batch", "Fleet", "agent_names", "make_agent"]
