"""The claims of Figure 6 and Appendix H on values and frequencies of items, and their verdicts.

Items lie in clusters if at least 90 % of them have an item of their own topic as the nearest other
one. The paper's Expert items fill the first 300 of 5,000 ranks and Transition items those up to
1,000: here 6 % and 20 % of a catalogue. *The thin tail* is at most 10 % of the items; *the vast
majority* and the tolerance of a shape are Figure 1's.

H.2 has item frequencies follow Zipf's law: the largest gap between the distribution function of the
expected frequencies and that of the fitted law is to be at most 0.05, and its exponent at least
0.6, as in real catalogues: equal frequencies are a law of exponent 0. The paper leaves open how
π_rand draws; both natural readings are asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recsim_drpo.benchmarks.calibrate import log_misfit
from recsim_drpo.benchmarks.reproduce.framework.estimates import (
    Floats,
    difference,
    interval,
    mean_of,
)
from recsim_drpo.benchmarks.reproduce.framework.shapes import (
    MISFIT,
    VAST_MAJORITY,
    Measured,
    explained,
    over_seeds,
    scaled,
    zipf_fit,
)
from recsim_drpo.benchmarks.reproduce.framework.thresholds import threshold
from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict, answer, by_sign
from recsim_drpo.reporting import paper
from recsim_drpo.simulator.config import SCENARIOS

COMMAND = "recsim-drpo reproduce figure6"
TYPES = {"Expert": 0.06, "Transition": 0.2, "Noise": 1.0}
"""Where item types end, as shares of the ranks: 300, 1,000 and all of 5,000."""
RANDOM = {"by popularity": 1.0, "uniformly": 0.0}
"""π_rand's exponent on organic popularity."""

CLUSTERED = threshold("clustered_share")
THIN_TAIL = threshold("thin_tail_share")
ZIPF_GAP = threshold("zipf_gap")
ZIPF_EXPONENT = threshold("zipf_exponent")


def published(share: float) -> float:
    """The paper's value at a share of the ranks, relative to rank 1, between the points read."""
    rank = share * paper.FIGURE_6B_RANKS[-1]
    return float(np.interp(rank, paper.FIGURE_6B_RANKS, paper.FIGURE_6B / paper.FIGURE_6B[0]))


def exponential_fit(x: Floats, y: Floats) -> float:
    """The share of the variance of ``y`` (T,) that c exp(-x / k) of least squares explains."""
    from scipy.optimize import minimize_scalar

    bounds = (float(x.max()) / 1e3, float(x.max()) * 1e2)
    best = minimize_scalar(
        lambda k: -explained(y, scaled(np.exp(-x / k), y)), bounds=bounds, method="bounded"
    )
    return -float(best.fun)


def laws(curve: Floats) -> tuple[float, float, float]:
    """R² of a power law, of one on log-log axes and of an exponential, at the published ranks."""
    ranks = paper.FIGURE_6B_RANKS.astype(np.float64)
    power = zipf_fit(ranks, curve)
    return power.explained, power.log_explained, exponential_fit(ranks, curve)


def verdicts(seeds: Sequence[Measured], pure: Mapping[str, float]) -> list[Verdict]:
    """The verdicts on all claims of Figure 6 and Appendix H.

    Args:
        seeds: what :func:`.figure6.measure` found for each.
        pure: by world, :func:`.figure6.purity`.
    """
    return [
        cluster_verdict(pure),
        *_component_verdicts(seeds),
        _law_verdict(seeds),
        *_tail_verdicts(seeds),
        _shape_verdict(seeds),
        *(zipf_verdict(seeds, scenario) for scenario in SCENARIOS),
    ]


def cluster_verdict(pure: Mapping[str, float]) -> Verdict:
    """The verdict on items lying in clusters, by the share of pure neighbours in each world."""
    met = [name for name, share in pure.items() if share >= CLUSTERED]
    verdict = "holds" if len(met) == len(pure) else "does not hold"
    if met and verdict != "holds":
        verdict = "holds under a condition"
    return Verdict(
        "Figure 6a: clusters",
        "Items lie in clusters, one for each latent topic.",
        "a picture, d = 3",
        "; ".join(f"{name}: {share:.1%}" for name, share in pure.items())
        + " of all items have one of their own topic nearest",
        verdict,
        (f"Met for {', '.join(met)}. " if met else "")
        + f"At least {CLUSTERED:.0%} is asked. In 3 dimensions as many topics of the same spread "
        "overlap; the calibrated spread is that of 128.",
        COMMAND,
    )


def _component_verdicts(seeds: Sequence[Measured]) -> list[Verdict]:
    def ecpm(name: str) -> Floats:
        return over_seeds(seeds, "components", name, "ecpm")

    return [
        by_sign(
            difference(ecpm(better), ecpm(worse)),
            f"Appendix H.2: {better} and {worse} rounds",
            statement,
            "",
            f"{mean_of(ecpm(better))} against {mean_of(ecpm(worse))} eCPM",
            COMMAND,
        )
        for better, worse, statement in (
            ("expert", "popularity", "Expert items match the user best; popular ones moderately."),
            ("popularity", "random", "Popular items are relevant; random ones hardly."),
        )
    ]


def _law_verdict(seeds: Sequence[Measured]) -> Verdict:
    ours = np.array([laws(curve) for curve in over_seeds(seeds, "curve")])
    theirs = laws(paper.FIGURE_6B)
    return Verdict(
        "Figure 6b: power law",
        "Values of items to a user have a power-law distribution.",
        f"its ten points: R² {theirs[0]:.2f} of a power law, {theirs[2]:.2f} of an exponential",
        f"R² {mean_of(ours[:, 0])} of a power law, {mean_of(ours[:, 2])} of an exponential",
        answer(interval(ours[:, 0] - ours[:, 2])),
        "a power law of the rank is to explain more than an exponential does; of the paper's own "
        "points it does not either",
        COMMAND,
    )


def _tail_verdicts(seeds: Sequence[Measured]) -> list[Verdict]:
    high, low = over_seeds(seeds, "high"), over_seeds(seeds, "low")
    expert, transition = (published(share) for share in list(TYPES.values())[:2])
    return [
        Verdict(
            "Figure 6b: the thin tail",
            "High-quality items occupy only the thin tail.",
            f"{TYPES['Expert']:.0%} of the items are worth {expert:.0%} of the best",
            mean_of(high),
            answer(interval(THIN_TAIL - high)),
            f"at most {THIN_TAIL:.0%} of the items are to be worth as much",
            COMMAND,
        ),
        Verdict(
            "Figure 6b: the majority",
            "The vast majority of items yields low rewards.",
            f"{1 - TYPES['Transition']:.0%} of the items are worth less than {transition:.0%} of "
            "the best",
            mean_of(low),
            answer(interval(low - VAST_MAJORITY)),
            f"at least {VAST_MAJORITY:.0%} of the items are to be worth less",
            COMMAND,
        ),
    ]


def _shape_verdict(seeds: Sequence[Measured]) -> Verdict:
    curves = over_seeds(seeds, "curve")
    misfit = np.array([log_misfit(curve, paper.FIGURE_6B) for curve in curves])
    relative = (curves / curves[:, :1]).mean(axis=0)
    return Verdict(
        "Figure 6b: shape",
        "The simulator has the published value of items by rank.",
        " / ".join(f"{value:.2g}" for value in paper.FIGURE_6B / paper.FIGURE_6B[0]),
        " / ".join(f"{value:.2g}" for value in relative),
        answer(interval(MISFIT - misfit)),
        f"root mean square of the log ratio: {mean_of(misfit)}, to be at most {MISFIT:.2f}. The "
        "mean of the published curve is 21 % of its best, and 21 % of an optimum of 2.0 would be "
        "0.43 for an untrained network, which the paper has at 0.15 to 0.25: the figure and the "
        "reference lines cannot be met together (docs/calibration.md)",
        COMMAND,
    )


def zipf_verdict(seeds: Sequence[Measured], scenario: str) -> Verdict:
    """The verdict on item frequencies being Zipfian: both bounds met, however π_rand draws."""

    def over(reading: str, key: str) -> Floats:
        return over_seeds(seeds, "zipf", scenario, reading, key)

    # Both bounds have to be met: the smaller margin decides.
    margins = {
        reading: np.minimum(
            ZIPF_GAP - over(reading, "gap"), over(reading, "exponent") - ZIPF_EXPONENT
        )
        for reading in RANDOM
    }
    answers = {reading: answer(interval(margin)) for reading, margin in margins.items()}
    met = [reading for reading, answer in answers.items() if answer == "holds"]
    if met:
        verdict = "holds" if len(met) == len(RANDOM) else "holds under a condition"
    else:
        verdict = "undecided" if "undecided" in answers.values() else "does not hold"
    return Verdict(
        f"Appendix H.2, {scenario}: item frequencies",
        "The aggregate item frequency in the logs is Zipfian.",
        "",
        "; ".join(
            f"π_rand drawing {reading}: exponent {mean_of(over(reading, 'exponent'))}, largest gap "
            f"{over(reading, 'gap').mean():.3f}"
            for reading in RANDOM
        ),
        verdict,
        (f"Met where π_rand draws {' and '.join(met)}. " if met else "")
        + f"The largest gap of the distribution functions is to be at most {ZIPF_GAP:g}, the "
        f"exponent at least {ZIPF_EXPONENT:g}.",
        COMMAND,
    )
