"""Sampled negatives: items of a log's catalogue that an update draws, and what each stands for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recsim_drpo.core import rng
from recsim_drpo.core.transitions import Batch, ItemActions, Transitions, distinct_tables

NEGATIVES = "negatives"
"""Name in ``Batch.infos`` of the drawn items' vectors, float32 (m, a)."""

NEGATIVE_WEIGHTS = "negative_weights"
"""Name in ``Batch.infos`` of what each stands for, by transition, float32 (B, m)."""


class NegativeSampler:
    """Draws negatives for batches of a log: uniform over its catalogue, with replacement.

    Which ones depends on a learner's seed, the number of the update and the size of the catalogue
    alone. In each transition the drawn items stand for all M − 1 that were not logged in it: those
    that happen to be the logged item weigh 0, the others (M − 1) / (how many they are), so that
    e^f(a) + Σ_j w_j e^f(n_j) is an unbiased estimate of Σ_b e^f(b), if there are any.

    Args:
        transitions: the log; its catalogue is :attr:`Transitions.items`.
        count: m ≥ 1, items drawn in an update.
        axes: leading axes of what is drawn: (L,), or none.
        spans: int64 (L, 2), first row and number of rows of each learner's own items in the table
            of a log that is several joined; by default all rows are everyone's.

    Raises:
        ValueError: the log is read in parts, and its items are not at hand.
    """

    def __init__(
        self,
        transitions: Transitions,
        count: int,
        axes: tuple[int, ...] = (),
        spans: Tensor | None = None,
    ) -> None:
        self.transitions = transitions.with_items()
        self._held: ItemActions = self.transitions.items
        self._count = count
        if spans is None:
            spans = torch.tensor([0, len(self._held.table)], device=transitions.device)
        spans = spans.to(transitions.device).expand(*axes, 2)
        self._first, self._sizes = spans[..., 0].unsqueeze(-1), spans[..., 1].unsqueeze(-1)

    def add_to(self, batch: Batch, indices: Tensor, seed: Tensor, step: Tensor) -> Batch:
        """The batch of the transitions ``indices`` (*axes, B) with what is drawn in its infos.

        Args:
            batch: transitions.
            indices: int64 (*axes, B), which they are.
            seed: int64 (*axes), of the learners.
            step: int64 (*axes), updates that they have had.
        """
        axes, size = indices.shape[:-1], indices.shape[-1]
        words = rng.philox_4x32(
            seed.reshape(-1), rng.Stream.NEGATIVES, step.reshape(-1), self._count
        )
        rows = rng.uniform_integers(words.reshape(*axes, self._count), self._sizes) + self._first
        drawn = self._held.table.index_select(0, rows.reshape(-1))
        logged = self._held.ids.index_select(0, indices.reshape(-1)).reshape(*axes, size, 1)
        is_other = (rows.unsqueeze(-2) != logged).to(batch.rewards.dtype)
        others = (self._sizes - 1).unsqueeze(-1).to(is_other.dtype)
        weights = is_other * (others / is_other.sum(-1, keepdim=True).clamp(min=1.0))
        negatives = drawn.reshape(*axes, self._count, drawn.shape[-1])
        infos = {**batch.infos, NEGATIVES: negatives, NEGATIVE_WEIGHTS: weights}
        return batch._replace(infos=infos)


def table_spans(logs: Sequence[Transitions]) -> Tensor:
    """First row and number of rows of each log's items in the table of them joined, int64 (K, 2).

    Args:
        logs: as of :meth:`Transitions.concatenated`, each with its items.
    """
    tables, places = distinct_tables([log.items for log in logs])
    starts = [0]
    for table in tables:
        starts.append(starts[-1] + len(table))
    return torch.tensor([[starts[place], len(tables[place])] for place in places])


def check_infos(
    agent: str, infos: Sequence[str], known: Sequence[str], what: str, draws: bool = False
) -> None:
    """Raise ``ValueError`` unless all columns that an agent reads are among the known ones.

    Args:
        agent: its name.
        infos: names of the columns that its loss reads.
        known: names of the columns that there are.
        what: whose they are, for the error.
        draws: whether the batch has to hold negatives as well.
    """
    for name in (*infos, *((NEGATIVES, NEGATIVE_WEIGHTS) if draws else ())):
        if name in known:
            continue
        if name in infos:
            mend = f"load it with the log, infos=[{name!r}], if it was recorded"
        else:
            mend = "train and make_train_step draw them from the log's catalogue by themselves"
        raise ValueError(
            f"The agent {agent!r} reads the info column {name!r}, which the {what} does not have "
            f"(it has {', '.join(map(repr, sorted(known))) or 'none'}); {mend}."
        )
