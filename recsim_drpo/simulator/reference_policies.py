"""Reference policies to compare agents with, in single rounds and in sessions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from recsim_drpo.core import rng
from recsim_drpo.core.policy import Policy
from recsim_drpo.core.random_policies import PolicyStream, RandomPolicy
from recsim_drpo.core.rng import Stream
from recsim_drpo.core.validation import check_seed, unknown_name
from recsim_drpo.simulator.config import POLICIES, LoggingConfig
from recsim_drpo.simulator.logging_agent import LoggingAgent
from recsim_drpo.simulator.sessions import Sessions
from recsim_drpo.simulator.world import World

REFERENCES = ("random", "popularity", "logger", "expert", "oracle")
"""Names that :func:`reference_policy` takes."""

SESSION_REFERENCES = ("random", "popularity", "logger", "expert", "myopic", "far-sighted")
"""Names that :func:`session_reference_policy` takes."""

CONTINUATIONS = (0.0, 1.0, 2.0, 4.0)
"""Values c of the rest of a session, in rewards, that the far-sighted policy's bases assume."""

HORIZON = 30
"""Number of steps that the far-sighted policy looks ahead."""

_ROWS = 128  # users that the far-sighted policy acts for at once, to bound memory


class _UniformPolicy(RandomPolicy):
    """Shows an item drawn uniformly from the catalogue."""

    def __init__(self, world: World, seed: int) -> None:
        self._world, self._seed = world, check_seed(seed)

    def act(self, observations: Tensor, rounds: Tensor | None = None) -> Tensor:
        """Embeddings, float32 (B, d)."""
        rounds = torch.arange(len(observations)) if rounds is None else rounds
        key = torch.tensor(self._seed, dtype=torch.int64, device=self._world.device)
        words = rng.philox_4x32(key, Stream.REFERENCE_POLICY, rounds.to(self._world.device), 2)
        uniform = rng.uniform_52bit(words[:, 0], words[:, 1])
        return self._world.embeddings[(uniform * self._world.num_items).to(torch.int64)]


class _OraclePolicy:
    """Shows each user the item of largest latent reward, which no learner can know."""

    def __init__(self, world: World) -> None:
        self._world = world

    def act(self, observations: Tensor) -> Tensor:
        """Embeddings, float32 (B, d)."""
        contexts = torch.as_tensor(observations, dtype=torch.float32, device=self._world.device)
        return self._world.embeddings[self._world.best_items(self._world.tastes(contexts))]


def reference_policy(
    name: str,
    world: World,
    scenario: str | Mapping[str, float] = "medium",
    config: LoggingConfig | None = None,
    seed: int = 0,
) -> PolicyStream | _OraclePolicy:
    """Reference policy to compare agents with: it acts on observations, as agents do.

    All but the oracle draw: they come as a stateful stream, whose draws go on from call to call.
    Evaluations begin such a stream anew, so that the same policy always gets the same value.

    Args:
        name: ``"random"`` (an item drawn uniformly), ``"popularity"`` or ``"expert"`` (that
            component of the logging agent alone), ``"logger"`` (the mixture) or ``"oracle"``.
        world: items and users; unlike an agent the policy knows the users' interests.
        scenario: the mixture of ``"logger"``.
        config: the logging agent's parameters.
        seed: integer in [0, 2**63).

    Raises:
        ValueError: an unknown name.
    """
    if name == "random":
        return PolicyStream(_UniformPolicy(world, seed))
    if name == "oracle":
        return _OraclePolicy(world)
    if name == "logger":
        return PolicyStream(LoggingAgent(world, scenario, config, seed))
    if name in POLICIES:
        return PolicyStream(LoggingAgent(world, {name: 1.0}, config, seed))
    raise unknown_name("reference policy", name, REFERENCES)


class _MyopicPolicy:
    """Shows the item of largest latent reward now, satiation included: optimal for one step."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def act(self, observations: Tensor) -> Tensor:
        """Embeddings, float32 (B, d)."""
        world = self._sessions.world
        states = torch.as_tensor(observations, dtype=torch.float32, device=world.device)
        return world.embeddings[self._sessions.best_items(states)]


class _FarSightedPolicy:
    """One step of policy improvement over several base policies, by exact rollouts of the model.

    A session's states follow from the topics shown; chance decides only whether the user is still
    there. So the expected return of a policy that draws nothing is one sum over one path,
    Σ_t R_t Π_{s<t} P_s(stay), and needs no sampling. The base policy β_c shows the item that
    maximises R + P(stay) c for a constant c in :data:`CONTINUATIONS` (c = 0 is the myopic one). In
    each state this policy takes the K items that are best in their topic now (no other is worth
    showing), follows every β_c among these K items for :data:`HORIZON` steps from where each of
    them leads, and shows the item that maximises R + P(stay) max_c (return of β_c from there).

    This is parallel rollout (Chang, Givan and Chong, *Parallel rollout for online solution of
    partially observable Markov decision processes*, Discrete Event Dynamic Systems 14, 2004). Its
    return is a lower bound on the optimum. It does not know the number of the step, which is not in
    the observation, and so cannot make use of the last step before a truncation.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        device = sessions.world.device
        self._constants = torch.tensor(CONTINUATIONS, device=device).unsqueeze(1)
        self._targets = torch.eye(sessions.world.num_topics, device=device)[sessions.topics]

    def act(self, observations: Tensor) -> Tensor:
        """Embeddings, float32 (B, d)."""
        world = self._sessions.world
        states = torch.as_tensor(observations, dtype=torch.float32, device=world.device)
        chosen = [self._choose(part) for part in torch.split(states, _ROWS)]
        return world.embeddings[torch.cat(chosen)]

    def _choose(self, observations: Tensor) -> Tensor:
        """Items, int64 (B,), to show in these states."""
        sessions = self._sessions
        contexts, exposure = sessions.parts(observations)
        rewards, items = sessions.best_of_topics(observations)
        stay = 1.0 - sessions.leaving(rewards, exposure[:, sessions.topics])
        after = sessions.exposed(exposure.unsqueeze(1), self._targets)
        values = rewards + stay * self._best_return(contexts, after, items)
        return items.gather(1, values.argmax(dim=1, keepdim=True)).squeeze(1)

    def _best_return(self, contexts: Tensor, exposure: Tensor, items: Tensor) -> Tensor:
        """Largest return of any base policy β_c after each first step, float32 (B, K').

        Args:
            contexts: float32 (B, context_dim).
            exposure: float32 (B, K', K), after each of K' first steps.
            items: int64 (B, K'), which the β_c choose from.
        """
        sessions, world = self._sessions, self._sessions.world
        match = world.topic_cosines(items).transpose(1, 2)
        contexts = contexts[:, None, None, :]
        exposure = exposure.unsqueeze(2).expand(-1, -1, len(CONTINUATIONS), -1)
        size, starts, bases, _ = exposure.shape
        returns = exposure.new_zeros(size, starts, bases)
        present = torch.ones_like(returns)
        for _ in range(HORIZON):
            tastes = sessions.tastes_at(contexts, exposure)
            cosines = (tastes.flatten(1, 2) @ match).view(size, starts, bases, -1)
            topic_exposure = exposure[..., sessions.topics]
            rewards = sessions.sated(world.latent_reward(cosines), topic_exposure)
            stay = 1.0 - sessions.leaving(rewards, topic_exposure)
            choice = (rewards + stay * self._constants).argmax(dim=-1, keepdim=True)
            returns = returns + present * rewards.gather(-1, choice).squeeze(-1)
            present = present * stay.gather(-1, choice).squeeze(-1)
            exposure = sessions.exposed(exposure, self._targets[choice.squeeze(-1)])
        return returns.amax(dim=2)


def session_logging_agent(
    sessions: Sessions,
    scenario: str | Mapping[str, float],
    config: LoggingConfig | None = None,
    seed: int = 0,
) -> LoggingAgent:
    """Logging agent of sessions: the bandit's, which ranks by the interest that a user has now.

    Like production loggers it ranks by relevance alone, and ignores satiation and leaving.

    Args:
        sessions: items and users.
        scenario: as for :class:`LoggingAgent`, and so are the next two.
        config: likewise.
        seed: likewise.

    Raises:
        ValueError: as :class:`LoggingAgent`.
    """
    return LoggingAgent(sessions.world, scenario, config, seed, tastes=sessions.tastes)


def session_reference_policy(
    name: str,
    sessions: Sessions,
    scenario: str | Mapping[str, float] = "medium",
    config: LoggingConfig | None = None,
    seed: int = 0,
) -> Policy:
    """Reference policy to compare agents in sessions with: it acts on observations, as agents do.

    All but the last two draw, and come as the stream that :func:`reference_policy` describes.

    Args:
        name: ``"random"`` (an item drawn uniformly), ``"popularity"`` or ``"expert"`` (that
            component of the logging agent alone), ``"logger"`` (the mixture), ``"myopic"`` (the
            item of largest latent reward now) or ``"far-sighted"`` (see docs/sessions.md).
        sessions: items and users; unlike an agent the policy knows the users' interests.
        scenario: the mixture of ``"logger"``.
        config: the logging agent's parameters.
        seed: integer in [0, 2**63).

    Raises:
        ValueError: an unknown name.
    """
    if name == "random":
        return reference_policy(name, sessions.world, seed=seed)
    if name == "myopic":
        return _MyopicPolicy(sessions)
    if name == "far-sighted":
        return _FarSightedPolicy(sessions)
    if name == "logger":
        return PolicyStream(session_logging_agent(sessions, scenario, config, seed))
    if name in POLICIES:
        return PolicyStream(session_logging_agent(sessions, {name: 1.0}, config, seed))
    raise unknown_name("reference policy", name, SESSION_REFERENCES)
