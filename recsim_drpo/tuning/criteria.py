"""What a search makes large: the true reward of validation users, or the value by a log alone.

The first is what only a simulator knows, and a paper that tunes by it says so. The second is what a
team has: the doubly robust value of the policy's items on rounds that were not learnt from, with
reward models cross-fitted on those rounds (:class:`recsim_drpo.ope.evaluator.OffPolicyEvaluator`),
never refused, as a search needs a number of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from minari import MinariDataset

from recsim_drpo.agents.registry import Needs
from recsim_drpo.core.policy import Policy
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.core.validation import check_number
from recsim_drpo.datasets.imported import is_imported
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.evaluation.evaluate import evaluator_for
from recsim_drpo.ope.evaluator import OffPolicyEvaluator
from recsim_drpo.ope.logs import ItemLog, read_item_log
from recsim_drpo.ope.split import held_out_part
from recsim_drpo.tuning.names import OFFLINE, TRUE_REWARD

Criterion = Callable[[Policy], float]
"""The value of a policy, larger is better."""


_NOTHING = Needs()


@dataclass(frozen=True)
class Problem:
    """What agents learn from, and how they are valued while and after values are chosen.

    Attributes:
        transitions: what every trial learns from.
        chosen_by: the name of the criterion of the search.
        criteria: every criterion that can be had, by name.
        final: the value that is told of what was chosen, by none of the rounds or users above.
        final_name: what that value is.
    """

    transitions: Transitions
    chosen_by: str
    criteria: Mapping[str, Criterion]
    final: Criterion
    final_name: str

    @property
    def criterion(self) -> Criterion:
        """The one that the search makes large."""
        return self.criteria[self.chosen_by]


def doubly_robust_value(log: ItemLog, seed: int = 0) -> Criterion:
    """The doubly robust value of policies on a log's rounds, in its unit."""
    measure = OffPolicyEvaluator(log, seed=seed)

    def value(policy: Policy) -> float:
        estimates = measure.estimates(measure.terms(policy), refuse=False)
        (found,) = [each.value for each in estimates if each.estimator == "dr"]
        return float("nan") if found is None else found.value

    return value


def problem_of(
    dataset: MinariDataset,
    chosen_by: str,
    *,
    held_out: float,
    device: torch.device,
    needs: Needs = _NOTHING,
    seed: int = 0,
) -> Problem:
    """The problem that a dataset poses.

    Args:
        dataset: of this package's simulator, or made by ``recsim-drpo import``.
        chosen_by: one of :data:`.names.CRITERIA`.
        held_out: share of the rounds, in (0, 1), that nothing learns from where they are needed:
            the last. Of an imported log their first half chooses, and the second judges.
        device: where everything is computed.
        needs: what the agents read of the log.
        seed: of the reward models.

    Raises:
        ValueError: the criterion cannot be had of this dataset; a share out of its range.
    """
    check_number("held_out", held_out, 0.0, 1.0, include_low=False, include_high=False)
    spec = dataset.spec.env_spec
    users = evaluator_for(spec, 2_000, split="validation", device=device, compared=0)
    if users is None:
        return _by_log_alone(dataset, chosen_by, held_out, device, needs, seed)
    test = evaluator_for(spec, 10_000, split="test", device=device, compared=0)
    assert test is not None
    criteria: dict[str, Criterion] = {TRUE_REWARD: lambda policy: users(policy).value.value}
    whole = load_transitions(dataset, device=device, infos=needs.infos, items=needs.items)
    learnt = whole
    try:
        log = read_item_log(dataset, device=device)
    except ValueError:
        if chosen_by == OFFLINE:
            raise
    else:
        if log.propensities is not None:
            learnt = whole.first(len(whole) - _held_out_rounds(len(whole), held_out), needs.infos)
            later = log.part(torch.arange(len(learnt), len(whole), device=device))
            criteria[OFFLINE] = doubly_robust_value(later, seed)
    _check_known(chosen_by, criteria, dataset)
    return Problem(
        learnt, chosen_by, criteria, lambda policy: test(policy).value.value, "test users"
    )


def _by_log_alone(
    dataset: MinariDataset,
    chosen_by: str,
    held_out: float,
    device: torch.device,
    needs: Needs,
    seed: int,
) -> Problem:
    if chosen_by == TRUE_REWARD:
        raise ValueError(
            f"No simulator of this package is behind {dataset.id!r}: true rewards are not known. "
            f"Choose --optimize {OFFLINE}."
        )
    if not is_imported(dataset):
        raise ValueError(
            f"Dataset {dataset.id!r} is neither of this package's simulator nor made by "
            "recsim-drpo import."
        )
    from recsim_drpo.ope.held_out import load_and_hold_out

    transitions, _ = load_and_hold_out(
        dataset, held_out, infos=needs.infos, device=device, items=needs.items
    )
    later = held_out_part(read_item_log(dataset, device=device), dataset, held_out)
    if later.propensities is None:
        raise ValueError(f"Dataset {dataset.id!r} has no propensities, which {OFFLINE} weighs by.")
    half = len(later) // 2
    if half < 2:
        raise ValueError(
            f"held_out={held_out:g} of {dataset.id!r} are {len(later):,} rounds; hold out more."
        )
    rounds = torch.arange(len(later), device=device)
    criteria = {OFFLINE: doubly_robust_value(later.part(rounds[:half]), seed)}
    judge = doubly_robust_value(later.part(rounds[half:]), seed)
    return Problem(transitions, chosen_by, criteria, judge, "the last rounds, doubly robust")


def _held_out_rounds(num_rounds: int, share: float) -> int:
    return min(max(round(share * num_rounds), 4), num_rounds - 2)


def _check_known(chosen_by: str, criteria: Mapping[str, Criterion], dataset: MinariDataset) -> None:
    if chosen_by not in criteria:
        raise ValueError(
            f"Dataset {dataset.id!r} has no propensities, which {OFFLINE} weighs by; choose "
            f"--optimize {TRUE_REWARD}."
        )
