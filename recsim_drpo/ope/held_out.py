"""The value of a policy by the latest rounds of an imported log, which it was not trained on.

No simulator is behind such a log, so all that is known is what was logged. A policy decodes to one
item for each context; the rounds in which the log happens to show that item, weighted by 1 /
propensity, say what it is worth (self-normalised inverse propensity scoring; Swaminathan and
Joachims, 2015). With few such rounds that is next to nothing, so their number is always told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from minari import MinariDataset
from torch import Tensor

from recsim_drpo.core.policy import ROWS_AT_A_TIME, Policies, Policy, actions_of, check_acts
from recsim_drpo.core.random_policies import restarted
from recsim_drpo.core.reward_unit import RewardUnit
from recsim_drpo.core.transitions import Batch, Transitions
from recsim_drpo.core.validation import check_number
from recsim_drpo.datasets.imported import is_imported, reward_unit
from recsim_drpo.datasets.items import resolve_items
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.datasets.soundness import DamagedDatasetError, metadata_of
from recsim_drpo.ope.formulas import effective_sample_size, snips
from recsim_drpo.ope.split import ordering_infos, split_rounds
from recsim_drpo.reporting.statistics import Estimate
from recsim_drpo.simulator.decoder import ExactDecoder, decode
from recsim_drpo.training.config import HELD_OUT_SHARE

_AS_IT_IS = RewardUnit()


@dataclass(frozen=True)
class HeldOut:
    """The value of a policy by held-out rounds, and how many of them speak of it.

    Attributes:
        value: mean reward, in the log's own unit, estimated by the rounds that match; its interval,
            by the delta method and in the range of the rewards held out, means little below ten of
            them. NaN where there is no match, or where the log has no propensities.
        matches: rounds in which the log shows the policy's item.
        reward: sum of the rewards in them, in that unit: of clicks, their number.
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
        rounds: infos ``item_id`` and, if they are known, ``propensity`` and ``request`` among them;
            rounds of a request are one cluster in the interval.
        embeddings: float32 (N, d) of the items that actions decode to, on the rounds' device.
        unit: of the log's rewards; those of the rounds are as they are learnt from.
    """

    def __init__(self, rounds: Batch, embeddings: Tensor, unit: RewardUnit = _AS_IT_IS) -> None:
        self._rounds = rounds
        self._unit = unit
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
            requests = infos["request"].cpu() if "request" in infos else None
            value = snips(
                self._rounds.rewards.cpu(), weights, reward_range=self._range, requests=requests
            ).mapped(self._unit.to_tell)
            effective = effective_sample_size(weights)
        matches = int(match.sum())
        return HeldOut(
            value,
            matches,
            self._unit.low * matches + self._unit.span * float(self._rounds.rewards[match].sum()),
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
    items: bool = False,
) -> tuple[Transitions, LogEvaluator | None]:
    """An imported log without its latest rounds, and the evaluator of policies on those.

    By :func:`.split.split_rounds`: the latest where the log has times, else the last.

    Args:
        dataset: made by ``recsim-drpo import``.
        share: of the rounds, in [0, 1), held out, since a policy meets what comes later. With 0
            there is no evaluator.
        infos: info columns to bring along in the first part.
        device: where the tensors are to be.
        items: as of :func:`.load_transitions`.

    Raises:
        ValueError: the dataset was not imported; a share out of its range, or that leaves one of
            the two without a round.
    """
    check_number("held_out", share, 0.0, 1.0, include_high=False)
    if not is_imported(dataset):
        raise ValueError(f"Dataset {dataset.id!r} was not made by recsim-drpo import.")
    catalogue = resolve_items(dataset)
    if share == 0.0:
        return load_transitions(dataset, device=device, infos=infos, items=items), None
    known = metadata_of(dataset)["import"]["propensities"] is not None
    needed = ["item_id", *(["propensity"] if known else []), *ordering_infos(dataset)]
    columns = [*dict.fromkeys([*infos, *needed])]
    whole = load_transitions(dataset, device=device, infos=columns, items=items)
    order = {name: whole.infos[name].cpu().numpy() for name in ordering_infos(dataset)}
    if known:
        _check_propensities(dataset.id, whole.infos["propensity"])
    learnt, last = split_rounds(len(whole), share, order.get("time"), order.get("request"))
    held_out = whole.take(torch.from_numpy(last).to(whole.device))
    if np.array_equal(learnt, np.arange(len(learnt))):
        first = whole.first(len(learnt), infos)  # nothing is copied
    else:
        first = whole.part(torch.from_numpy(learnt).to(whole.device), infos)
    return first, LogEvaluator(
        held_out, torch.from_numpy(catalogue.embeddings).to(whole.device), reward_unit(dataset)
    )


def _check_propensities(name: str, propensities: Tensor) -> None:
    wrong = int((~((propensities > 0.0) & (propensities <= 1.0))).sum())
    if wrong:
        raise DamagedDatasetError(name, f"{wrong:,} propensities are outside (0, 1]")
