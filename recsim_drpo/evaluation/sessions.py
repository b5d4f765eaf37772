"""The value of a policy in sessions, without reward noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.core import scratch
from recsim_drpo.core.policy import ROWS_AT_A_TIME, Policies, Policy, actions_of, check_acts
from recsim_drpo.core.random_policies import restarted
from recsim_drpo.core.validation import check_integer, check_seed
from recsim_drpo.evaluation.limits import MAX_USERS
from recsim_drpo.evaluation.measured import Floats, Measured, host
from recsim_drpo.evaluation.retrieval import Retrieval
from recsim_drpo.reporting.statistics import Estimate, gini, mean_interval, ratio_interval
from recsim_drpo.simulator.decoder import ExactDecoder, decode as decoded, directions, found
from recsim_drpo.simulator.retrieval import SAMPLE, is_exact, label
from recsim_drpo.simulator.sessions import Sessions
from recsim_drpo.simulator.world import stream_of


@dataclass(frozen=True)
class SessionEvaluation(Measured):
    """The value of a policy to the users whose sessions it was evaluated on.

    Intervals are over those users, at 95 %, as in :class:`Evaluation`.

    Attributes:
        session_return: mean over sessions of the sum of their latent rewards, undiscounted.
        session_length: mean number of steps.
        reward: mean latent reward of a step, in [0, 1]: total return by total length.
        truncated: share of sessions that were cut off, the user being still there.
        coverage: share of the catalogue that was shown to anyone.
        gini: Gini coefficient of how often each item of the catalogue was shown.
        nonfinite_share: share of actions with a NaN or infinite component: they show no item.
        num_users: users, hence sessions, evaluated on.
        retrieval: what an approximate decoder misses; ``None`` where it is exact.
    """

    session_return: Estimate
    session_length: Estimate
    reward: Estimate
    truncated: Estimate
    coverage: float
    gini: float
    nonfinite_share: float
    num_users: int
    retrieval: Retrieval | None = None

    value_name: ClassVar[str] = "return of a session"
    lost_name: ClassVar[str] = "return"

    @property
    def value(self) -> Estimate:
        """The return of a session."""
        return self.session_return

    def headline(self) -> dict[str, float]:
        """The numbers of a learning curve: ``return``, ``session_length``, ``nonfinite_share``."""
        return {
            "return": self.session_return.value,
            "session_length": self.session_length.value,
            "nonfinite_share": self.nonfinite_share,
        }

    def cells(self) -> dict[str, str]:
        """The row of a table about this policy: text by the column's title."""
        return {
            "return": str(self.session_return),
            "steps": f"{self.session_length.value:.2f}",
            "reward a step": f"{self.reward.value:.3f}",
            "cut off": f"{self.truncated.value:.1%}",
        } | self._variety()


_USERS = 2**16  # whose sessions are played at a time, by all policies together
_FEWEST = 2**14  # by each, however many they are

Decode = Callable[[Tensor], Tensor]
"""From actions (n, d) to items, int64 (n,)."""


class Played(NamedTuple):
    """Sessions that a policy has played, as float64 arrays (B,), one entry a session.

    Attributes:
        returns: sums of latent rewards.
        paid: sums of observed rewards.
        lengths: numbers of steps.
        nothing_shown: numbers of steps that showed no item.
        truncated: 1 where the session was cut off, else 0.
        counts: int64 (N,), how often each item of the catalogue was shown.
    """

    returns: Floats
    paid: Floats
    lengths: Floats
    nothing_shown: Floats
    truncated: Floats
    counts: NDArray[np.int64]


class SessionEvaluator:
    """A set of users to evaluate any number of policies on, a session each.

    Each policy meets the same users, and in the same step of a session the same chance of noise and
    of leaving.

    Args:
        sessions: the sessions that they have, and the world.
        num_users: from 1 to 100,000,000.
        seed: integer in [0, 2**63) of the users.
        split: ``"test"`` (default), ``"validation"`` or ``"train"``.
        compared: first users on whom a decoder that is not exact is held against exact search, ≥ 0;
            they have their sessions again with each.
    """

    def __init__(
        self,
        sessions: Sessions,
        num_users: int = 10_000,
        seed: int = 0,
        split: str = "test",
        *,
        compared: int = SAMPLE,
    ) -> None:
        check_integer("num_users", num_users, 1, MAX_USERS)
        check_integer("compared", compared, 0)
        self._seed = check_seed(seed)
        stream_of(split)
        self.sessions = sessions
        self.num_users = num_users
        self._split = split
        self._compared = 0 if is_exact(sessions.world.decoder) else min(compared, num_users)

    def __call__(self, policy: Policy) -> SessionEvaluation:
        """Evaluate a policy; raises as :meth:`Evaluator.__call__` does."""
        evaluation = self.summary(self.play(policy))
        if not self._compared:
            return evaluation
        return replace(evaluation, retrieval=self._retrievals(restarted(policy), ())[0])

    def many(self, policies: Policies) -> list[SessionEvaluation]:
        """Evaluate several policies at once, for example the learners of a fleet.

        Args:
            policies: L policies with ``act(observations)`` from (L, B, o) to (L, B, d), and
                ``len``.

        Raises:
            TypeError, ValueError: as for one policy.
        """
        axes = (len(policies),)
        found = [self.summary(played) for played in self._play(policies, axes)]
        if not self._compared:
            return found
        retrievals = self._retrievals(policies, axes)
        return [replace(each, retrieval=it) for each, it in zip(found, retrievals, strict=True)]

    def play(self, policy: Policy) -> Played:
        """Play every user's session, 65,536 in lockstep; raises as :meth:`__call__` does."""
        return self._play(restarted(policy), ())[0]

    def _play(
        self,
        policy: Policy | Policies,
        axes: tuple[int, ...],
        num_users: int | None = None,
        decode: Decode | None = None,
    ) -> list[Played]:
        """Play the sessions of the first users, or of all, by a decoder, or by the world's."""
        check_acts(policy)
        decode = decode or self.sessions.world.decode
        number = num_users or self.num_users
        size = max(_FEWEST, _USERS // math.prod(axes))
        if number <= size:
            return self._play_part(policy, axes, slice(0, number), decode)
        whole = [self._nothing_played(number) for _ in range(math.prod(axes))]
        for start in range(0, number, size):
            rows = slice(start, min(start + size, number))
            for played, part in zip(
                whole, self._play_part(policy, axes, rows, decode), strict=True
            ):
                for column, some in zip(played[:-1], part[:-1], strict=True):
                    column[rows] = some
                played.counts[:] += part.counts
            scratch.let_go()
        return whole

    def _nothing_played(self, num_users: int) -> Played:
        rooms = [scratch.room((num_users,), np.float64) for _ in Played._fields[:-1]]
        counts = np.zeros(self.sessions.world.num_items, dtype=np.int64)
        return Played._make([*rooms, counts])

    def _play_part(
        self,
        policy: Policy | Policies,
        axes: tuple[int, ...],
        those: slice,
        decode: Decode,
    ) -> list[Played]:
        """Play the sessions of some users, all in lockstep."""
        sessions, world = self.sessions, self.sessions.world
        num_policies = math.prod(axes)
        users = torch.arange(those.start, those.stop, device=world.device)
        first = sessions.begin(self._split, self._seed, users)
        observations = first.repeat(num_policies, 1, 1)
        present = torch.ones(observations.shape[:2], dtype=torch.bool, device=world.device)
        sums = torch.zeros(4, *present.shape, dtype=torch.float64, device=world.device)
        counts = torch.zeros(num_policies, world.num_items, dtype=torch.int64, device=world.device)
        policies = torch.arange(num_policies, device=world.device).unsqueeze(1)
        for step in range(sessions.config.max_steps):
            # Those who are there first, then as many others as make the rows equally long.
            width = int(present.sum(dim=1).max())
            if width == 0:
                break
            rows = (~present).to(torch.int8).argsort(dim=1, stable=True)[:, :width]
            there = present[policies, rows]
            states = observations[policies, rows]
            items = self._items(policy, axes, states, decode)
            outcome = sessions.step(
                states.flatten(0, 1),
                items.flatten(),
                sessions.luck(self._split, self._seed, users[rows.flatten()], step),
            )
            paid = torch.stack((outcome.latent, outcome.observed)).view(2, *rows.shape)
            steps = torch.stack((torch.ones_like(items), items < 0))
            sums[:, policies, rows] += torch.cat((paid, steps)).to(torch.float64) * there
            shown = there & (items >= 0)
            counts.scatter_add_(1, items.clamp_min(0), shown.to(torch.int64))
            observations[policies, rows] = outcome.observations.view(states.shape)
            present[policies, rows] = there & ~outcome.left.view(rows.shape)
        columns = [*(host(total) for total in sums), host(present), counts.cpu().numpy()]
        return [Played(*column) for column in zip(*columns, strict=True)]

    def _items(
        self, policy: Policy | Policies, axes: tuple[int, ...], states: Tensor, decode: Decode
    ) -> Tensor:
        """Items, int64 (L, B), that L policies show in states (L, B, o); L is 1 without axes."""
        world = self.sessions.world
        shown = torch.empty(states.shape[:2], dtype=torch.int64, device=world.device)
        size = max(1, ROWS_AT_A_TIME // len(states))
        for start in range(0, states.shape[1], size):
            chunk = slice(start, start + size)
            observations = states[:, chunk] if axes else states[0, chunk]
            actions = actions_of(policy, observations, world.dim, axes=axes)
            items = decode(actions.to(world.device).flatten(0, -2))
            shown[:, chunk] = items.reshape(len(states), -1)
        return shown

    def _retrievals(self, policy: Policy | Policies, axes: tuple[int, ...]) -> list[Retrieval]:
        """What the world's decoder misses in the first users' sessions, and what that costs."""
        world, users = self.sessions.world, self._compared
        exact = ExactDecoder(world.embeddings)
        hits: list[Tensor] = []

        def checked(actions: Tensor) -> Tensor:
            queries = directions(actions)
            best = exact.search(queries)[0]
            right = found(world.decoder, world.embeddings, queries, best)
            hits.append(right.view(math.prod(axes), -1))
            return world.decode(actions)

        shown = self._play(policy, axes, users, checked)
        if not axes:
            policy = restarted(policy)
        best = self._play(policy, axes, users, lambda actions: decoded(exact, actions))
        recalls = host(torch.cat(hits, dim=1))
        return [
            Retrieval(
                label(world.decoder),
                mean_interval(recall),
                mean_interval(exactly.returns - approximately.returns),
                users,
            )
            for recall, approximately, exactly in zip(recalls, shown, best, strict=True)
        ]

    def summary(self, played: Played) -> SessionEvaluation:
        """The evaluation of sessions that were played."""
        return SessionEvaluation(
            session_return=mean_interval(played.returns),
            session_length=mean_interval(played.lengths),
            reward=ratio_interval(played.returns, played.lengths),
            truncated=mean_interval(played.truncated),
            coverage=float((played.counts > 0).mean()),
            gini=gini(played.counts),
            nonfinite_share=scratch.total(lambda part: part, played.nothing_shown)
            / scratch.total(lambda part: part, played.lengths),
            num_users=self.num_users,
        )
