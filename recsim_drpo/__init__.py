"""RecSim, a simulator of recommendation with heavy-tailed noisy logs, and offline agents.

``import recsim_drpo`` registers ``RecSimZipf-v0`` and ``RecSimZipfSession-v0`` with Gymnasium.
"""

from recsim_drpo import _former_names
from recsim_drpo.agents import Agent, Batch, Fleet, agent_names, make_agent, register_agent
from recsim_drpo.datasets.generate import generate_dataset, simulate_transitions
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.envs.registration import register
from recsim_drpo.evaluation.bandit import Evaluation, Evaluator
from recsim_drpo.evaluation.evaluate import evaluate
from recsim_drpo.evaluation.sessions import SessionEvaluation, SessionEvaluator
from recsim_drpo.simulator.config import LoggingConfig, SessionConfig, WorldConfig
from recsim_drpo.simulator.logging_agent import LoggingAgent
from recsim_drpo.simulator.reference_policies import reference_policy, session_reference_policy
from recsim_drpo.simulator.sessions import Sessions, make_sessions
from recsim_drpo.simulator.world import World, make_world

__all__ = [
    "Agent",
    "Batch",
    "Evaluation",
    "Evaluator",
    "Fleet",
    "LoggingAgent",
    "LoggingConfig",
    "SessionConfig",
    "SessionEvaluation",
    "SessionEvaluator",
    "Sessions",
    "World",
    "WorldConfig",
    "agent_names",
    "evaluate",
    "generate_dataset",
    "load_transitions",
    "make_agent",
    "make_sessions",
    "make_world",
    "reference_policy",
    "register_agent",
    "session_reference_policy",
    "simulate_transitions",
]

_former_names.install()
register()
