"""Log whole sessions: each is one Minari episode, terminated where the user left."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from minari.data_collector import EpisodeBuffer
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.datasets.generation.source import Log, References, sampled_users
from recsim_drpo.datasets.packing import info_column
from recsim_drpo.envs.sessions import session_spaces_of
from recsim_drpo.evaluation.sessions import SessionEvaluator
from recsim_drpo.reporting.tables import markdown_table
from recsim_drpo.simulator.logging_agent import LoggingAgent
from recsim_drpo.simulator.reference_policies import session_reference_policy
from recsim_drpo.simulator.sessions import Sessions, round_numbers

SESSIONS_PER_BLOCK = 1_000
"""Number of sessions that are computed together, the same on every machine."""

SESSION_PACKING = (
    "An episode is a session. terminations is True where the user left, truncations where the user "
    "was still there after the last step that a session may have. Bootstrap from the next "
    "observation unless terminations is True, after a truncated step too. infos[k][t + 1] belongs "
    "to action t; row 0 of an info column is filler (-1 or NaN)."
)
_REFERENCE_USERS = 500
_KEPT_OBSERVATIONS = 2_000
_EPISODE_BYTES = 30_000  # HDF5's own, for the eleven arrays that Minari makes of an episode


class SessionLog(Log):
    """Sessions of training users in order, with the items that a logging agent shows.

    Args:
        agent: the logging agent, from :func:`.reference_policies.session_logging_agent`.
        sessions: the simulated sessions.
    """

    packing: dict[str, Any] = {"rule": SESSION_PACKING}  # noqa: RUF012 - never changed
    unit = "rounds in whole sessions"

    def __init__(self, agent: LoggingAgent, sessions: Sessions) -> None:
        super().__init__(agent)
        self._sessions = sessions
        self._lengths = np.zeros(sessions.config.max_steps + 1, dtype=np.int64)
        self._num_truncated = 0
        self._kept: list[NDArray[np.float32]] = []
        self._num_kept = 0

    @property
    def spaces(self) -> tuple[Any, Any]:
        """Observation and action space."""
        return session_spaces_of(self._sessions)

    def references(self) -> References:
        """Mean observed returns of a session: of random items and of the best reference policy."""
        users = self._reference_users
        evaluator = SessionEvaluator(self._sessions, users)
        low, *above = (
            float(evaluator.play(session_reference_policy(name, self._sessions)).paid.mean())
            for name in ("random", "myopic", "far-sighted")
        )
        # Foresight beyond the last step that a session may have does not pay.
        high, name = max(zip(above, ("myopic", "far-sighted"), strict=True))
        score = "mean observed return of a session"
        fewer = users < _REFERENCE_USERS
        return References(score, "random", low, name, high, users, is_sample=fewer)

    @property
    def _reference_users(self) -> int:
        return sampled_users(_REFERENCE_USERS, self.agent.world.num_items)

    def bytes_per_round(self) -> float:
        """Estimated size of a round on the disk, in bytes, from some sessions of the same agent."""
        evaluator = SessionEvaluator(self._sessions, self._reference_users, split="train")
        mean_length = float(evaluator.play(self.agent).lengths.mean())
        row = 4 * (self._sessions.observation_dim + self.agent.world.dim + 1) + 2 + 8 + 8 + 1 + 16
        return row + _EPISODE_BYTES / mean_length

    def starts(self, num_rounds: int) -> Iterator[int]:
        """0, 1000, … without end: how many sessions are needed is known once they are played."""
        return itertools.count(0, SESSIONS_PER_BLOCK)

    @property
    def longest(self) -> int:
        """Rounds that an episode may have."""
        return int(self._sessions.config.max_steps)

    def block(self, seed: int, start: int, num_rounds: int) -> list[EpisodeBuffer]:
        """Sessions ``start`` to ``start + 999``, in lockstep."""
        sessions, agent = self._sessions, self.agent
        numbers = torch.arange(start, start + SESSIONS_PER_BLOCK, device=agent.world.device)
        present = torch.arange(SESSIONS_PER_BLOCK, device=agent.world.device)
        observations = sessions.begin("train", seed, numbers)
        last = observations.clone()
        steps: list[dict[str, Tensor]] = []
        for step in range(sessions.config.max_steps):
            here = numbers[present]
            choices = agent.choose(sessions.tastes(observations), seed, round_numbers(here, step))
            outcome = sessions.step(
                observations, choices.items, sessions.luck("train", seed, here, step)
            )
            best = sessions.best_items(observations)
            final = torch.full_like(outcome.left, step == sessions.config.max_steps - 1)
            steps.append(
                {
                    "session": present,
                    "observation": observations,
                    "reward": outcome.observed,
                    "terminated": outcome.left,
                    "truncated": final & ~outcome.left,
                    "item_id": choices.items,
                    "topic": outcome.topics,
                    "policy": choices.policies,
                    "propensity": choices.propensities,
                    "latent_reward": outcome.latent,
                    "oracle_reward": sessions.latent_reward(best, observations),
                }
            )
            last[present] = outcome.observations
            observations, present = outcome.observations[~outcome.left], present[~outcome.left]
            if len(present) == 0:
                break
        order = torch.cat([step["session"] for step in steps]).argsort(stable=True)
        rounds = {name: torch.cat([step[name] for step in steps])[order] for name in steps[0]}
        actions = agent.world.embeddings[rounds["item_id"]]
        return _episodes(
            {name: column.cpu().numpy() for name, column in rounds.items()},
            actions.cpu().numpy(),
            last.cpu().numpy(),
        )

    def tastes(self) -> Tensor:
        """Tastes in the first rounds that were counted."""
        users = sampled_users(_KEPT_OBSERVATIONS, self.agent.world.num_items)
        kept = torch.from_numpy(np.concatenate(self._kept)[:users])
        return self._sessions.tastes(kept.to(self.agent.world.device))

    def count(self, episodes: Sequence[EpisodeBuffer]) -> None:
        """Add sessions that were written to the statistics."""
        super().count(episodes)
        for episode in episodes:
            self._lengths[len(episode.rewards)] += 1
            self._num_truncated += bool(episode.truncations[-1])
            if self._num_kept < _KEPT_OBSERVATIONS:
                self._kept.append(np.asarray(episode.observations)[:-1])
                self._num_kept += len(episode.rewards)

    def card_sections(self) -> list[str]:
        """A section on the sessions' lengths and returns."""
        num_sessions = int(self._lengths.sum())
        shares = np.array([0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
        quantiles = np.searchsorted(self._lengths.cumsum(), shares * num_sessions)
        rows = [
            [f"{share:.0%}", str(length)] for share, length in zip(shares, quantiles, strict=True)
        ]
        mean_length = self.statistics.num_rounds / num_sessions
        return [
            "## How long the sessions are",
            f"{num_sessions:,} sessions of {mean_length:.2f} rounds on average, with a return (sum "
            f"of latent rewards) of {mean_length * self.statistics.mean_latent_reward:.3f}. "
            f"{self._num_truncated:,} were cut off with the user still there.",
            markdown_table(["sessions", "at most so many rounds"], rows),
        ]


def _episodes(
    rounds: dict[str, NDArray[Any]], actions: NDArray[np.float32], last: NDArray[np.float32]
) -> list[EpisodeBuffer]:
    """Cut rounds, sorted by session, into episodes; ``last`` (B, o) ends their observations.

    Observations and infos have a row more than an episode has rounds: round n of all is row n plus
    its session's number, one further on in the infos, whose first row is filler.
    """
    num_rounds, num_sessions = len(actions), len(last)
    session = rounds.pop("session")
    rows = np.arange(num_rounds) + session
    observations = np.empty((num_rounds + num_sessions, last.shape[1]), dtype=np.float32)
    observations[rows] = rounds.pop("observation")
    ends = np.cumsum(np.bincount(session, minlength=num_sessions))
    observations[ends + np.arange(num_sessions)] = last
    rewards, terminations, truncations = (
        rounds.pop(name) for name in ("reward", "terminated", "truncated")
    )
    infos = {name: info_column(v, rows + 1, len(observations)) for name, v in rounds.items()}
    episodes = []
    start = 0
    for number, end in enumerate(ends.tolist()):
        here, wider = slice(start, end), slice(start + number, end + number + 1)
        episodes.append(
            EpisodeBuffer(
                observations=observations[wider],
                actions=actions[here],
                rewards=rewards[here],
                terminations=terminations[here],
                truncations=truncations[here],
                infos={name: column[wider] for name, column in infos.items()},
            )
        )
        start = end
    return episodes
