"""Off-policy evaluations as a table, lines of refusals, a picture and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from recsim_drpo.core.files import atomic_dir
from recsim_drpo.core.reward_unit import RewardUnit
from recsim_drpo.ope.estimators import OffPolicyEstimate
from recsim_drpo.ope.evaluator import OffPolicyEvaluation
from recsim_drpo.ope.refusals import Support
from recsim_drpo.reporting import plots
from recsim_drpo.reporting.statistics import Estimate
from recsim_drpo.reporting.tables import markdown_table
from recsim_drpo.simulator.retrieval import SAMPLE

_WORTH_A_LINE = 0.0005  # that rounds to 0.1 %

Results = Mapping[str, OffPolicyEvaluation]
"""Evaluations on one log by policy, at least one."""


def as_text(results: Results, notes: Sequence[str] = ()) -> str:
    """A table in Markdown, a line about what it rests on, one for each reason to refuse, notes."""
    first = next(iter(results.values()))
    header = [
        "policy",
        "estimator",
        "reward",
        "95 % interval",
        "rewarded matches",
        "effective rounds",
        "largest weight",
    ]
    rounds = f"{first.num_rounds:,}"
    counts = [f"{first.rewarded:,} of {rounds}", rounds, "1"]
    rows = [["who logged", "mean", *_interval(first.logged, first.unit), *counts]]
    lines = []
    for policy, evaluation in results.items():
        refused: dict[str, list[str]] = {}
        for estimate in evaluation.estimates:
            rows.append([policy, _name(estimate), *_cells(estimate, first.unit)])
            if estimate.refusal is not None:
                refused.setdefault(estimate.refusal, []).append(estimate.estimator)
        lines += [
            f"- {policy}, refused: {', '.join(estimators)}: {reason}."
            for reason, estimators in refused.items()
        ]
        if evaluation.unlogged >= _WORTH_A_LINE:
            lines.append(f"- {policy}: {_support(evaluation)}.")
        if evaluation.recall is not None:
            lines.append(f"- {policy}: {_retrieval(evaluation)}.")
        if evaluation.nothing_shown:
            lines.append(f"- {policy} shows no item in {evaluation.nothing_shown:.1%} of contexts.")
    requests = first.num_requests
    over = "rounds" if requests is None else f"the {requests:,} requests that they came in"
    about = (
        f"{rounds} rounds; observed reward. Intervals are over {over}, in the range of rewards; "
        f"that of dm knows nothing of its model, whose R² is {first.r_squared:.3f} on rounds it "
        "was not fitted on. Rewarded matches are the rounds with weight that paid, and those with "
        "weight."
    )
    lines += [f"- {note}" for note in notes]
    parts = [markdown_table(header, rows), about, "\n".join(lines), _estimated(first)]
    return "\n\n".join(filter(None, parts))


def save(folder: Path, results: Results, notes: Sequence[str] = ()) -> str | None:
    """Write ``ope.json``, ``ope.md`` and ``ope.png`` into a folder that appears whole.

    Returns:
        why there is no picture, or ``None``.

    Raises:
        FileExistsError, OSError: as :func:`recsim_drpo.core.files.atomic_dir`.
    """
    plain = {policy: evaluation.as_dict() for policy, evaluation in results.items()}
    drawn = {"who logged": next(iter(results.values())).logged} | {
        f"{policy}, {_name(estimate)}": estimate.value
        for policy, evaluation in results.items()
        for estimate in evaluation.estimates
        if estimate.value is not None
    }
    with atomic_dir(folder) as partial:
        (partial / "ope.md").write_text(as_text(results, notes) + "\n", encoding="utf-8")
        text = json.dumps(plain, indent=1) + "\n"
        (partial / "ope.json").write_text(text, encoding="utf-8")
        try:
            plots.estimates(partial / "ope.png", drawn, "observed reward, 95 % interval")
        except plots.PlotsMissingError as error:
            return str(error)
    return None


def _name(estimate: OffPolicyEstimate) -> str:
    return estimate.estimator + (", estimated p" if estimate.estimated_propensities else "")


def _estimated(evaluation: OffPolicyEvaluation) -> str:
    """What propensities that were not logged rest on: their calibration, and their weights."""
    found = evaluation.propensities
    if found is None:
        return ""
    text = (
        "Propensities are estimated, by models that have not seen the round: right where the "
        "logger chose by nothing that the log lacks. Weights of the policy that shows all logged "
        f"items alike have mean {found.mean_weight} (1 where they are right), effective rounds "
        f"{found.ess:,.0f}."
    )
    if found.apart is not None:
        text += f" From those that were logged they are off by a factor {math.exp(found.apart):.2f}"
        text += " in the mean of logarithms."
    rows = [
        [f"{line.low:g} to {line.high:g}", f"{line.expected:,.1f}", f"{line.shown:,}"]
        for line in found.calibration
    ]
    return f"{text}\n\n{markdown_table(['estimated p', 'expected rounds', 'rounds'], rows)}"


def _retrieval(evaluation: OffPolicyEvaluation) -> str:
    assert evaluation.recall is not None
    recall, contexts = evaluation.recall, min(evaluation.num_rounds, SAMPLE)
    return (
        f"items are found by {evaluation.decoder}, recall@1 {recall.value:.1%} [{recall.low:.1%}, "
        f"{recall.high:.1%}] in the first {contexts:,} contexts; what that loses in reward, a log "
        "cannot tell"
    )


def _support(evaluation: OffPolicyEvaluation) -> str:
    return str(Support("item", evaluation.unlogged, evaluation.unlogged_items))


def _cells(estimate: OffPolicyEstimate, unit: RewardUnit) -> list[str]:
    value = ["refused", ""] if estimate.value is None else _interval(estimate.value, unit)
    largest = "" if estimate.largest_weight is None else f"{estimate.largest_weight:,.4g}"
    matches = "" if estimate.matched is None else f"{estimate.rewarded:,} of {estimate.matched:,}"
    return [*value, matches, f"{estimate.ess:,.0f}", largest]


def _interval(value: Estimate, unit: RewardUnit) -> list[str]:
    middle, low, high = (f"{number:.{unit.decimals}f}" for number in value)
    return [middle, f"{low} to {high}"]
