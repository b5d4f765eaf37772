from . import (
    adapters as adapters,
    agents as agents,
    benchmarks as benchmarks,
    datasets as datasets,
    envs as envs,
    evaluation as evaluation,
    ope as ope,
    reporting as reporting,
    runs as runs,
    serving as serving,
    simulator as simulator,
    training as training,
)
from .agents.fleet import Fleet as Fleet
from .agents.protocol import Agent as Agent, Batch as Batch
from .agents.registry import (
    agent_names as agent_names,
    make_agent as make_agent,
    register_agent as register_agent,
)
from .datasets.generate import (
    generate_dataset as generate_dataset,
    simulate_transitions as simulate_transitions,
)
from .datasets.load import load_transitions as load_transitions
from .evaluation.bandit import Evaluation as Evaluation, Evaluator as Evaluator
from .evaluation.evaluate import evaluate as evaluate
from .evaluation.sessions import (
    SessionEvaluation as SessionEvaluation,
    SessionEvaluator as SessionEvaluator,
)
from .simulator.config import (
    LoggingConfig as LoggingConfig,
    SessionConfig as SessionConfig,
    WorldConfig as WorldConfig,
)
from .simulator.logging_agent import LoggingAgent as LoggingAgent
from .simulator.reference_policies import (
    reference_policy as reference_policy,
    session_reference_policy as session_reference_policy,
)
from .simulator.sessions import Sessions as Sessions, make_sessions as make_sessions
from .simulator.world import World as World, make_world as make_world
