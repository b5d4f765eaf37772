"""Agents that learn from logged recommendations. They know nothing of the simulator."""

from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.agents.protocol import Agent
from recsim_drpo.agents.registry import AgentSpec, agent_names, make_agent, register_agent
from recsim_drpo.core.transitions import Batch

__all__ = [
    "Agent",
    "AgentSpec",
    "Batch",
    "Fleet",
    "agent_names",
    "make_agent",
    "register_agent",
]
