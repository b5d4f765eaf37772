"""The value of a policy on users who each meet one recommendation, without reward noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from recsim_drpo.core import scratch
from recsim_drpo.core.policy import ROWS_AT_A_TIME, Policies, Policy, actions_of, check_acts
from recsim_drpo.core.random_policies import restarted
from recsim_drpo.core.validation import check_integer, check_seed
from recsim_drpo.evaluation.limits import MAX_USERS
from recsim_drpo.evaluation.measured import Floats, Measured, host
from recsim_drpo.evaluation.retrieval import Retrieval
from recsim_drpo.reporting.statistics import Estimate, gini, mean_interval, ratio_interval
from recsim_drpo.simulator.config import ECPM_PER_REWARD
from recsim_drpo.simulator.decoder import ExactDecoder, directions, found
from recsim_drpo.simulator.retrieval import SAMPLE, is_exact, label
from recsim_drpo.simulator.world import Users, World, stream_of

_USERS = 2**16  # who are held; of more so many are drawn at a time


@dataclass(frozen=True)
class Evaluation(Measured):
    """The value of a policy to the users it was evaluated on.

    Intervals are over those users, at 95 %: they describe this one policy and say nothing of what
    another seed would have learnt.

    Attributes:
        reward: mean latent reward, in [0, 1].
        ecpm: 5 × reward.
        regret: mean shortfall in latent reward from each user's best item.
        normalized: (reward − random) / (oracle − random), where random shows items uniformly; 0 and
            1 are those two.
        distance: mean ‖μ − u*‖ between the raw action and the user's interest (the paper's Dist.).
        coverage: share of the catalogue that was shown to anyone.
        gini: Gini coefficient of how often each item of the catalogue was shown.
        nonfinite_share: share of actions with a NaN or infinite component: they show no item, earn
            0, and are left out of ``distance``.
        num_users: users evaluated on.
        retrieval: what an approximate decoder misses; ``None`` where it is exact.
    """

    reward: Estimate
    ecpm: Estimate
    regret: Estimate
    normalized: Estimate
    distance: Estimate
    coverage: float
    gini: float
    nonfinite_share: float
    num_users: int
    retrieval: Retrieval | None = None

    value_name: ClassVar[str] = "eCPM"
    lost_name: ClassVar[str] = "reward"

    @property
    def value(self) -> Estimate:
        """The eCPM."""
        return self.ecpm

    def headline(self) -> dict[str, float]:
        """The numbers of a learning curve: ``ecpm``, ``normalized`` and ``nonfinite_share``."""
        return {
            "ecpm": self.ecpm.value,
            "normalized": self.normalized.value,
            "nonfinite_share": self.nonfinite_share,
        }

    def cells(self) -> dict[str, str]:
        """The row of a table about this policy: text by the column's title."""
        return {
            "reward": str(self.reward),
            "eCPM": f"{self.ecpm.value:.3f}",
            "regret": f"{self.regret.value:.3f}",
            "of optimum": f"{self.normalized.value:.1%}",
            "Dist.": "" if math.isnan(self.distance.value) else f"{self.distance.value:.3f}",
        } | self._variety()


class Evaluator:
    """A set of users to evaluate any number of policies on: each meets the same users.

    Args:
        world: the world that they live in.
        num_users: from 1 to 100,000,000.
        seed: integer in [0, 2**63) of the users.
        split: ``"test"`` (default), ``"validation"`` or ``"train"``.
        compared: first users on whom a decoder that is not exact is held against exact search, ≥ 0.
    """

    def __init__(
        self,
        world: World,
        num_users: int = 10_000,
        seed: int = 0,
        split: str = "test",
        *,
        compared: int = SAMPLE,
    ) -> None:
        check_integer("num_users", num_users, 1, MAX_USERS)
        check_integer("compared", compared, 0)
        check_seed(seed)
        stream_of(split)
        self.world = world
        self.num_users = num_users
        self._drawn = split, seed
        self._held: Users | None = None
        self._oracle, self._uniform = self._rooms(2)
        for rows, users in self._users():
            best = world.best_items(users.tastes)
            self._oracle[rows] = host(world.reward_of_items(best, users.interests))
            self._uniform[rows] = host(world.mean_rewards(users.tastes))
        self._compared = 0 if is_exact(world.decoder) else min(compared, num_users)

    def _users(self) -> Iterator[tuple[slice, Users]]:
        """All users in order; more than 65,536 are drawn anew each time, in parts."""
        split, seed = self._drawn
        if self.num_users <= _USERS:
            if self._held is None:
                self._held = self.world.users(split, seed, torch.arange(self.num_users))
            yield slice(0, self.num_users), self._held
            return
        for start in range(0, self.num_users, _USERS):
            rows = slice(start, min(start + _USERS, self.num_users))
            yield rows, self.world.users(split, seed, torch.arange(rows.start, rows.stop))
            scratch.let_go()

    def _rooms(self, count: int) -> list[Floats]:
        """Columns to be filled, float64 (users,) each."""
        return [scratch.room((self.num_users,), np.float64) for _ in range(count)]

    def __call__(self, policy: Policy) -> Evaluation:
        """Evaluate a policy.

        Raises:
            TypeError: it has no ``act``.
            ValueError: it returns actions of another shape than (B, d).
        """
        return self._evaluations(restarted(policy), ())[0]

    def many(self, policies: Policies) -> list[Evaluation]:
        """Evaluate every learner of a fleet: all act, and all their actions are decoded, at once.

        Args:
            policies: a fleet, or anything of L policies with ``act(observations)`` of shape
                (L, B, d) and ``len``.

        Raises:
            TypeError, ValueError: as for one policy.
        """
        return self._evaluations(policies, (len(policies),))

    def _evaluations(self, policy: Policy | Policies, axes: tuple[int, ...]) -> list[Evaluation]:
        check_acts(policy)
        shown = [self._rooms(3) for _ in range(math.prod(axes))]
        of_first: list[tuple[Tensor, ...]] = []
        for rows, users in self._users():
            columns, missed = self._shown_to_all(policy, axes, users, rows.start)
            of_first += missed
            for number, column in enumerate(columns):
                for rooms, values in zip(shown, host(column).reshape(len(shown), -1), strict=True):
                    rooms[number][rows] = values
        if not self._compared:
            return [self._summary(*each) for each in shown]
        first = [host(torch.cat(column, dim=-1)) for column in zip(*of_first, strict=True)]
        pairs = zip(*(column.reshape(len(shown), -1) for column in first), strict=True)
        retrievals = [self._retrieval(*pair) for pair in pairs]
        return [
            replace(self._summary(*each), retrieval=retrieval)
            for each, retrieval in zip(shown, retrievals, strict=True)
        ]

    def _shown_to_all(
        self, policy: Policy | Policies, axes: tuple[int, ...], users: Users, first: int
    ) -> tuple[list[Tensor], list[tuple[Tensor, ...]]]:
        """As :meth:`_shown`, to users of whom one is number ``first``, some of them at a time."""
        rows, number = max(1, ROWS_AT_A_TIME // math.prod(axes)), len(users.contexts)
        columns: list[Tensor] = []
        of_first: list[tuple[Tensor, ...]] = []
        for start in range(0, number, rows):
            chunk = slice(start, start + rows)
            compared = max(0, self._compared - first - start)
            shown, missed = self._shown(
                policy, axes, users.contexts[chunk], users.interests[chunk], compared
            )
            of_first.append(missed)
            # Into tensors that there are, see :func:`.tiles.in_parts`.
            columns = columns or [each.new_empty((*axes, number)) for each in shown]
            for column, some in zip(columns, shown, strict=True):
                column[..., chunk] = some
        return columns, of_first

    def _shown(
        self,
        policy: Policy | Policies,
        axes: tuple[int, ...],
        contexts: Tensor,
        interests: Tensor,
        compared: int,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Items, their latent rewards and ‖μ − u*‖ (NaN for no item), each (*axes, B).

        And of the first ``compared`` users whether the best item was found, and the reward of the
        exact one less that of the item shown.
        """
        world = self.world
        actions = actions_of(policy, contexts, world.dim, axes=axes).to(world.device)
        items = world.decode(actions.flatten(0, -2))
        repeated = interests.expand(*axes, *interests.shape)
        rewards = world.reward_of_items(items, repeated.reshape(-1, world.dim))
        # In float64: the squares of a diverged policy's actions overflow float32.
        distances = torch.linalg.vector_norm(actions.to(torch.float64) - interests, dim=-1)
        finite = torch.isfinite(actions).all(dim=-1)
        distances = distances.masked_fill(~finite, torch.nan)
        items, rewards = items.reshape(finite.shape), rewards.reshape(finite.shape)
        first = min(compared, len(contexts))
        missed = self._missed(actions[..., :first, :], rewards[..., :first], interests[:first])
        return (items, rewards, distances), missed

    def _missed(self, actions: Tensor, rewards: Tensor, interests: Tensor) -> tuple[Tensor, ...]:
        """Whether the best items of actions (*axes, B, d) were found, and the reward lost."""
        if not len(interests):
            return (torch.empty_like(rewards), torch.empty_like(rewards))
        world = self.world
        queries = directions(actions.flatten(0, -2))
        scores, items = ExactDecoder(world.embeddings).search(queries)
        best = world.reward_of_items(
            items.squeeze(1), interests.expand(*actions.shape).reshape(-1, world.dim)
        )
        hits = found(world.decoder, world.embeddings, queries, scores)
        return hits.view(rewards.shape), best.view(rewards.shape) - rewards

    def _retrieval(self, hits: Floats, lost: Floats) -> Retrieval:
        return Retrieval(
            label(self.world.decoder), mean_interval(hits), mean_interval(lost), self._compared
        )

    def _summary(self, items: Floats, rewards: Floats, distances: Floats) -> Evaluation:
        oracle, uniform = self._oracle, self._uniform
        shown = scratch.elementwise(lambda part: part >= 0, items)
        counts = np.zeros(self.world.num_items, dtype=np.int64)
        for rows in scratch.blocks(self.num_users):
            some = items[rows][shown[rows]].astype(np.int64)
            counts += np.bincount(some, minlength=len(counts))
        finite = scratch.chosen(distances, shown)
        reward = mean_interval(rewards)
        above, spread = (
            scratch.elementwise(np.subtract, one, uniform) for one in (rewards, oracle)
        )
        return Evaluation(
            reward=reward,
            ecpm=reward.scaled(ECPM_PER_REWARD),
            regret=mean_interval(scratch.elementwise(np.subtract, oracle, rewards)),
            normalized=ratio_interval(above, spread),
            distance=mean_interval(finite) if len(finite) else Estimate(*[np.nan] * 3),
            coverage=float((counts > 0).mean()),
            gini=gini(counts),
            nonfinite_share=1.0 - scratch.total(lambda part: part, shown) / self.num_users,
            num_users=self.num_users,
        )
