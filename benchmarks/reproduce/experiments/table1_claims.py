"""The conclusions of Sections 5.2 and 5.3 from Table 1, as claims that an interval can answer.

The paper's words are made numbers in :mod:`.agent_suite`. The best of
several methods is chosen for each seed by the other seeds (:func:`.records.cross_fitted_scores`):
the one of largest mean would look better than it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from recsim_drpo.benchmarks.reproduce.framework.agent_suite import (
    COLLAPSED_ECPM,
    INDISTINGUISHABLE_SHARE,
    NECESSARY_SHARE,
    PAPER_TABLE_1,
    PAPERS_BASELINES,
    PAPERS_OWN,
    SOFT,
    TEACHER_ECPM,
    marks_told,
)
from recsim_drpo.benchmarks.reproduce.framework.estimates import (
    Floats,
    difference,
    interval,
    mean_of,
    signed,
)
from recsim_drpo.benchmarks.reproduce.framework.records import cross_fitted_scores
from recsim_drpo.benchmarks.reproduce.framework.verdicts import (
    Verdict,
    answer,
    answer_within,
    by_sign,
)

Scores = Mapping[str, Mapping[str, Floats]]
"""eCPM over seeds, by scenario and agent."""


def verdicts(ecpm: Scores, command: str) -> list[Verdict]:
    """The verdicts on what Sections 5.2 and 5.3 conclude from Table 1.

    Args:
        ecpm: of ``"medium"`` and ``"extreme"``, paired by seed, of all agents of the paper.
        command: what makes the numbers.
    """
    paper = PAPER_TABLE_1
    return [
        _any_weight(ecpm, command),
        *(_top_two(ecpm[name], name, paper[name], command) for name in ecpm),
        *(_runner_up(ecpm[name], name, paper[name], command) for name in ecpm),
        *(_adequate(ecpm["medium"], agent, paper, command) for agent in ("iql", "adaptive-bc")),
        *(_clones_noise(ecpm["extreme"], agent, paper, command) for agent in ("awr", "asymre")),
        _best_in_noise(ecpm["extreme"], command),
        _indistinguishable(ecpm, command),
        _necessary(ecpm["extreme"], command),
    ]


def _any_weight(ecpm: Scores, command: str) -> Verdict:
    answers = [answer(interval(COLLAPSED_ECPM - scores["asymre"])) for scores in ecpm.values()]
    # Of "any", one counter-example is enough.
    worst = next((v for v in ("does not hold", "undecided") if v in answers), "holds")
    shown = "; ".join(f"{name} {mean_of(scores['asymre'])}" for name, scores in ecpm.items())
    return Verdict(
        "Section 5.2, any weight",
        "Any non-zero weight on noise meets an infinite multiplier 1/σ², so soft weighting fails.",
        "",
        f"AsymRe, w⁻ = 0.1: eCPM {shown}",
        worst,
        f"to fail is an eCPM below {COLLAPSED_ECPM:g} in both; "
        + marks_told(max(interval(scores["asymre"]).high for scores in ecpm.values())),
        command,
    )


def _top_two(
    ecpm: Mapping[str, Floats], scenario: str, paper: Mapping[str, float], command: str
) -> Verdict:
    last = min(PAPERS_OWN, key=lambda name: float(ecpm[name].mean()))
    rival = cross_fitted_scores(ecpm, PAPERS_BASELINES)
    return by_sign(
        difference(ecpm[last], rival.scores),
        f"Table 1, {scenario}: the two best",
        "DRPO and DRPO-Exp are the two best.",
        f"DRPO {paper['drpo']:.2f}, DRPO-Exp {paper['drpo-exp']:.2f}",
        f"DRPO {mean_of(ecpm['drpo'])}, DRPO-Exp {mean_of(ecpm['drpo-exp'])}; the best "
        f"other, {rival.told()}, {mean_of(rival.scores)}",
        command,
    )


def _runner_up(
    ecpm: Mapping[str, Floats], scenario: str, paper: Mapping[str, float], command: str
) -> Verdict:
    others = [name for name in PAPERS_BASELINES if name != "adaptive-bc"]
    rival = cross_fitted_scores(ecpm, others)
    return by_sign(
        difference(ecpm["adaptive-bc"], rival.scores),
        f"Section 5.3, Adaptive BC in {scenario}",
        "Adaptive BC, filtering alone, outperforms all other baselines.",
        f"{paper['adaptive-bc']:.2f}, the best other baseline "
        f"{max(v for k, v in paper.items() if k not in (*PAPERS_OWN, 'adaptive-bc')):.2f}",
        f"{mean_of(ecpm['adaptive-bc'])} against {rival.told()}'s {mean_of(rival.scores)}",
        command,
    )


def _adequate(
    ecpm: Mapping[str, Floats], agent: str, paper: Mapping[str, Mapping[str, float]], command: str
) -> Verdict:
    return Verdict(
        f"Section 5.3, {agent} in medium quality",
        f"{agent} performs adequately in medium quality.",
        f"{paper['medium'][agent]:.2f}",
        mean_of(ecpm[agent]),
        answer(interval(ecpm[agent] - TEACHER_ECPM)),
        f"adequate is above the logging teacher's {TEACHER_ECPM:g}",
        command,
    )


def _clones_noise(
    ecpm: Mapping[str, Floats], agent: str, paper: Mapping[str, Mapping[str, float]], command: str
) -> Verdict:
    published = paper["extreme"]
    return by_sign(
        difference(ecpm["bc"], ecpm[agent]),
        f"Section 5.3, noise cloning by {agent}",
        f"In extreme noise {agent} clones the noise: it earns less than BC, which clones the log.",
        f"{published[agent]:.2f} against {published['bc']:.2f}" if agent in published else "",
        f"{mean_of(ecpm[agent])} against {mean_of(ecpm['bc'])}",
        command,
    )


def _best_in_noise(ecpm: Mapping[str, Floats], command: str) -> Verdict:
    rival = cross_fitted_scores(ecpm, [*PAPERS_BASELINES, "drpo"])
    return by_sign(
        difference(ecpm["drpo-exp"], rival.scores),
        "Section 5.3, DRPO-Exp in extreme noise",
        "DRPO-Exp is the best of all methods in extreme noise.",
        "1.59, DRPO 1.54",
        f"{mean_of(ecpm['drpo-exp'])} against {rival.told()}'s {mean_of(rival.scores)}",
        command,
    )


def _indistinguishable(ecpm: Scores, command: str) -> Verdict:
    medium, extreme = (ecpm[name]["drpo-exp"] for name in ("medium", "extreme"))
    gap = difference(medium, extreme)
    limit = INDISTINGUISHABLE_SHARE * float(medium.mean())
    return Verdict(
        "Section 5.3, DRPO-Exp",
        "DRPO-Exp in extreme noise is indistinguishable from medium quality.",
        "reward 0.379 in the text, 0.318 in Table 1, against 0.372",
        f"extreme {mean_of(extreme)}, medium {mean_of(medium)}",
        answer_within(gap, limit),
        f"medium minus extreme is {signed(gap)}; 5 % of medium's is {limit:.2f}",
        command,
    )


def _necessary(ecpm: Mapping[str, Floats], command: str) -> Verdict:
    rival = cross_fitted_scores(ecpm, SOFT)
    margin = difference(NECESSARY_SHARE * ecpm["drpo"], rival.scores)
    share = float(rival.scores.mean() / ecpm["drpo"].mean())
    return Verdict(
        "Section 5.3, necessity",
        "Hard filtering is necessary in extreme noise: soft weighting fails there.",
        "AWR 1.27 against DRPO 1.54",
        f"{rival.told()} {mean_of(rival.scores)} against DRPO {mean_of(ecpm['drpo'])}",
        answer(margin),
        f"{rival.told()}, which rejects nobody, reaches {share:.0%} of DRPO's eCPM; below "
        f"{NECESSARY_SHARE:.0%} it would be necessary",
        command,
    )
