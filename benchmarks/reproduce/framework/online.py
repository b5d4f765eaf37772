"""Training from offline to online: on a stream that is half a log, half the policy's own rounds.

The paper trains "under a hybrid data stream" (Section 5.6) and does not define it. Here every batch
is half rounds of the log, drawn with replacement as offline training draws them, and half fresh
rounds: new training users, to whom the current policy shows the item that an action drawn from it
decodes to, and who pay the observed reward. What is learnt from is that item's embedding, as in the
log: a logged action is an item. An agent starts from its random initialisation, as the first point
of Figure 4 does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from recsim_drpo.agents.algorithms.filtering import top_kappa
from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.benchmarks.reproduce.framework.measures import UserEvaluator, of_rounds
from recsim_drpo.benchmarks.reproduce.framework.study import Record, Study
from recsim_drpo.core.transitions import Batch, Transitions
from recsim_drpo.evaluation.bandit import Evaluator
from recsim_drpo.simulator.world import World
from recsim_drpo.training.loop import Row, drawn_ahead
from recsim_drpo.training.sweep import Run, Trained

ONLINE = 2_000_003
"""Added to a seed: its online users, whom neither its log nor its held-out log has met."""

FOLLOWED = ("online_reward", "kappa", "admitted", "online_share")
"""Columns of the history that are kept beside eCPM; the last three of filtering agents."""


def online_rounds(world: World, fleet: Fleet, step: int, size: int) -> Batch:
    """Fresh rounds of every learner by its current policy, with a leading axis of L.

    Args:
        world: where they are played.
        fleet: whose policies act, by their own random numbers.
        step: number of the update, ≥ 0: users are counted on from step to step.
        size: rounds of each learner, ≥ 1.
    """
    num_learners = len(fleet)
    counters = torch.arange(step * size, (step + 1) * size, device=world.device)
    seeds = (fleet.seeds + ONLINE).repeat_interleave(size)
    users = world.users("train", seeds, counters.repeat(num_learners))
    contexts = users.contexts.view(num_learners, size, world.context_dim)
    items = world.decode(fleet.sample(contexts).flatten(0, 1))
    latent = world.reward_of_items(items, users.interests)
    # No item (-1), of an action that is not finite, is worth 0; its learner is frozen already.
    shown = world.embeddings[items.clamp_min(0)]
    rewards = world.observed_reward(latent, users.reward_noise).view(num_learners, size)
    return Batch(
        contexts,
        shown.view(num_learners, size, world.dim),
        rewards,
        contexts,
        torch.ones_like(rewards, dtype=torch.bool),
    )


def admitted(rewards: Tensor, kappa: Tensor, num_online: int) -> tuple[Tensor, Tensor]:
    """Shares that the filter admits of online samples: two readings of Figure 4's green line.

    Args:
        rewards: (L, B), the last ``num_online`` of them online.
        kappa: float64 (L,), the share that each learner's filter admitted.
        num_online: from 1 to B.

    Returns:
        (L,), the share of online samples that is admitted, and (L,), the share of what is admitted
        that is online.
    """
    weights = torch.func.vmap(top_kappa)(rewards, kappa).weights
    online = weights[:, -num_online:]
    return online.mean(dim=1), online.sum(dim=1) / weights.sum(dim=1)


class OnlineStudy(Study):
    """A study whose agents are trained on half the log, half their own rounds.

    Records have ``followed`` as well: rows of step and :data:`FOLLOWED`, measured on the batch of
    that step.
    """

    def train(
        self,
        agent: str,
        logs: Mapping[int, Transitions],
        seeds: Sequence[int],
        validation: UserEvaluator,
    ) -> list[Trained]:
        """An agent's runs, all variants and seeds in one fleet: see :meth:`Study.train`."""
        users = of_rounds(validation)
        world, variants = users.world, self.agents[agent]
        dims = world.context_dim, world.dim
        options: dict[str, Any] = {"execution": self.execution}
        fleet = Fleet(
            agent,
            observation_dim=dims[0],
            action_dim=dims[1],
            seeds=seeds,
            overrides=variants,
            device=world.device,
            **options,
        )
        histories = self._histories(fleet, [logs[m.seed] for m in fleet.members], users)
        ends = fleet.diverged_at.tolist()
        return [
            Trained(
                Run(agent, member.seed, member.overrides),
                dims,
                options,
                fleet.learner(k),
                histories[k],
                None if ends[k] < 0 else ends[k],
            )
            for k, member in enumerate(fleet.members)
        ]

    def _histories(
        self, fleet: Fleet, logs: Sequence[Transitions], validation: Evaluator
    ) -> list[list[Row]]:
        world, config = validation.world, self.training
        num_online = config.batch_size // 2
        num_offline = config.batch_size - num_online
        everything = Transitions.concatenated(logs)
        sizes = torch.tensor([len(log) for log in logs], device=world.device)
        offsets = (sizes.cumsum(0) - sizes).unsqueeze(1)
        histories = [[_row(0, start.headline())] for start in validation.many(fleet)]
        drawn = drawn_ahead(fleet.seeds, sizes, 0, config.steps, num_offline)
        for number, indices in enumerate(drawn, start=1):
            fresh = online_rounds(world, fleet, number - 1, num_online)
            batch = joined(everything.take(indices + offsets), fresh)
            metrics = fleet.update(batch)
            if number % config.evaluate_every and number < config.steps:
                continue
            columns = {"online_reward": fresh.rewards.mean(dim=1)}
            if "kappa" in metrics:
                columns["kappa"] = metrics["kappa"]
                columns["admitted"], columns["online_share"] = admitted(
                    batch.rewards, metrics["kappa"], num_online
                )
            table = {name: column.cpu().tolist() for name, column in columns.items()}
            for k, evaluation in enumerate(validation.many(fleet)):
                followed = {name: column[k] for name, column in table.items()}
                histories[k].append(_row(number, evaluation.headline() | followed))
        return histories

    def details(self, trained: Trained, log: Transitions) -> dict[str, Any]:
        """Rows of step and :data:`FOLLOWED`, under ``followed``."""
        names = ("step", *FOLLOWED)
        rows = [row for row in trained.history if FOLLOWED[0] in row]
        return {"followed": [{name: row[name] for name in names if name in row} for row in rows]}

    def completed(self, record: Record, source: Mapping[str, Any]) -> Record | None:
        """The record if it has its curve and what was followed, which cannot be had again."""
        steps = [step for step, _ in record.get("curve", [])]
        follows = "followed" in record and steps[1:2] == [self.training.evaluate_every]
        return record if follows else None


def joined(offline: Batch, online: Batch) -> Batch:
    """One batch of both, offline rounds first, without info columns."""

    def both(name: str) -> Tensor:
        return torch.cat((getattr(offline, name), getattr(online, name)), dim=1)

    return Batch(
        both("observations"),
        both("actions"),
        both("rewards"),
        both("next_observations"),
        both("terminations"),
    )


def _row(step: int, values: Mapping[str, float]) -> Row:
    return {"step": float(step), **values}
