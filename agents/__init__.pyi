from .fleet import Fleet as Fleet
from .protocol import Agent as Agent, Batch as Batch
from .registry import (
    AgentSpec as AgentSpec,
    Needs as Needs,
    agent_names as agent_names,
    make_agent as make_agent,
    needs_of as needs_of,
    register_agent as register_agent,
)
