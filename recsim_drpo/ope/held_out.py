"""The value of a policy by the last rounds of an imported log, which it was not trained on.

No simulator is behind such a log, so all that is known is what was logged. A policy decodes to one
item for each context; the rounds in which the log happens to show that item, weighted by 1 /
propensity, say what it is worth (self-normalised inverse propensity scoring; Swaminathan and
Joachims, 2015). With few such rounds that is next to nothing, so their number is always told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from minari import MinariDataset
from torch import Tensor

from recsim_drpo.core.policy import ROWS_AT_A_TIME, Policies, Policy, actions_of, check_acts
from recsim_drpo.core.random_policies import restarted
from recsim_drpo.core.transitions import Batch, Transitions
from recsim_drpo.core.validation import check_number
from recsim_drpo.datasets.imported import is_imported
from recsim_drpo.datasets.items import resolve_items
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.ope.formulas import effective_sample_size, snips
from recsim_drpo.reporting.statistics import Estimate
from recsim_drpo.simulator.decoder import ExactDecoder, decode
from recsim_drpo.training.config import HELD_OUT_SHARE


@dataclass(frozen=True)
class HeldOut:
    """The value of a policy by held-out rounds, and how many of them speak of it.

    Attributes:
        value: mean reward, estimated by the rounds that match; its interval, by the delta method
            and in the range of the rewards held out, means little below ten of them. NaN where
            there is no match, or where the log has no propensities.
        matches: rounds in which the log shows the policy's item.
        reward: sum of the rewards in them: of clicks, their number.
        effective: effective number of them, (Σ w)² / Σ w²; NaN as ``value``.
        nonfinite_share: share of actions with a NaN or infinite component: they match nothing.
        num_rounds: rounds held out.
    """

    value: Estimate
    matches: int
    reward: float
    effective: float
    nonfinite_share: float
    num_rounds: int

    def headline(self) -> dict[str, float]:
        """The numbers of a learning curve: ``held_out_value`` if there is one, and its basis."""
        row = {
            "held_out_value": self.value.value,
            "held_out_matches": float(self.matches),
            "nonfinite_share": self.nonfinite_share,
        }
        return {name: value for name, value in row.items() if not math.isnan(value)}


class LogEvaluator:
    """Held-out rounds to measure any number of policies on.

    Args:
        rounds: infos ``item_id`` and, if it is known, ``propensity`` among them.
        embeddings: float32 (N, d) of the items that actions decode to, on the rounds' device.
    """

    def __init__(self, rounds: Batch, embeddings: Tensor) -> None:
        self._rounds = rounds
        self._dim = embeddings.shape[1]
        self._decoder = ExactDecoder(embeddings)
        paid = rounds.rewards
        self._range = (float(paid.min()), float(paid.max())) if len(paid) else None

    def __call__(self, policy: Policy) -> HeldOut:
        """Measure a policy.

        Raises:
            TypeError: it has no ``act``.
            ValueError: it returns actions of another shape than (B, d).
        """
        return self._measured(restarted(policy), ())[0]

    def many(self, policies: Policies) -> list[HeldOut]:
        """Measure every learner of a fleet; raises as for one policy."""
        return self._measured(policies, (len(policies),))

    def _measured(self, policy: Policy | Policies, axes: tuple[int, ...]) -> list[HeldOut]:
        check_acts(policy)
        rows = max(1, ROWS_AT_A_TIME // math.prod(axes))
        contexts = torch.split(self._rounds.observations, rows)
        items = torch.cat([self._items(policy, axes, chunk) for chunk in contexts], dim=-1)
        return [self._summary(each) for each in items.reshape(-1, items.shape[-1])]

    def _items(self, policy: Policy | Policies, axes: tuple[int, ...], contexts: Tensor) -> Tensor:
        actions = actions_of(policy, contexts, self._dim, axes=axes, rows="rounds")
        items = decode(self._decoder, actions.to(contexts.device).flatten(0, -2))
        return items.reshape(actions.shape[:-1])

    def _summary(self, items: Tensor) -> HeldOut:
        infos = self._rounds.infos
        match = items == infos["item_id"]
        value, effective = Estimate(math.nan, math.nan, math.nan), math.nan
        if "propensity" in infos and bool(match.any()):
            weights = (match / infos["propensity"]).cpu()
            value = snips(self._rounds.rewards.cpu(), weights, reward_range=self._range)
            effective = effective_sample_size(weights)
        return HeldOut(
            value,
            int(match.sum()),
            float(self._rounds.rewards[match].sum()),
            effective,
            float((items < 0).to(torch.float64).mean()),
            len(items),
        )


def load_and_hold_out(
    dataset: MinariDataset,
    share: float = HELD_OUT_SHARE,
    *,
    infos: Sequence[str] = (),
    device: str | torch.device = "cpu",
) -> tuple[Transitions, LogEvaluator | None]:
    """An imported log without its last rounds, and the evaluator of policies on those.

    Args:
        dataset: made by ``recsim-drpo import``.
        share: of the rounds, in [0, 1), held out: the last, since a policy meets what comes later.
            With 0 there is no evaluator.
        infos: info columns to bring along in the first part.
        device: where the tensors are to be.

    Raises:
        ValueError: the dataset was not imported; a share out of its range, or that leaves one of
            the two without a round.
    """
    check_number("held_out", share, 0.0, 1.0, include_high=False)
    if not is_imported(dataset):
        raise ValueError(f"Dataset {dataset.id!r} was not made by recsim-drpo import.")
    items = resolve_items(dataset)
    if share == 0.0:
        return load_transitions(dataset, device=device, infos=infos), None
    known = dataset.storage.metadata["import"]["propensities"] is not None
    needed = ["item_id", *(["propensity"] if known else [])]
    whole = load_transitions(dataset, device=device, infos=[*dict.fromkeys([*infos, *needed])])
    first = len(whole) - round(share * len(whole))
    if not 0 < first < len(whole):
        raise ValueError(
            f"held_out={share!r} of {len(whole):,} rounds leaves none to "
            f"{'learn from' if first == 0 else 'hold out'}; choose another share."
        )
    last: Any = whole.take(torch.arange(first, len(whole), device=whole.device))
    return whole.first(first, infos), LogEvaluator(
        last, torch.from_numpy(items.embeddings).to(whole.device)
    )
