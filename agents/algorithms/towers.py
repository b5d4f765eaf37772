r"""What the agents of two towers share: the score of an item for a user, and its penalty.

The user's tower is the policy's mean μ(s), the item's tower is its vector a, which is given, and

.. math:: z(s, a) = \mu_\theta(s) \cdot a + b_\phi(s)

is the score, b a network of its own that takes up what depends on the user alone. Of all items of
unit length the one of largest score is the one of largest cosine with μ, whatever b and ‖μ‖: what
these agents predict best is what every agent's action decodes to (MIPS).

No density is fitted: ``act`` is μ, ``sample`` adds noise of σ = 1 as with ``sigma="fixed"``, the
only kind there is here. μ has the unit of a score (a log-odds, or a reward), not that of items, so
that this noise is small where predictions are sure. To explore, draw items by
:mod:`recsim_drpo.serving.exploration`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from recsim_drpo.agents.engine.algorithm import PolicyConfig
from recsim_drpo.agents.engine.networks import Parameters, policy_moments, value
from recsim_drpo.core.config import NonNegative, OneOf
from recsim_drpo.core.transitions import Batch


@dataclass(frozen=True)
class TowerConfig(PolicyConfig):
    """Hyper-parameters of agents that predict rewards by two towers.

    Attributes:
        sigma: ``"fixed"``, since no density is fitted.
        penalty: λ ≥ 0 of ‖μ(s)‖², the ridge of the item weights that μ(s) is.
    """

    sigma: Annotated[str, OneOf(("fixed",))] = "fixed"
    penalty: NonNegative = 3e-3


def tower_critics(
    observation_dim: int, action_dim: int, config: TowerConfig
) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of b, by network name."""
    return {"baseline": (observation_dim, 1)}


def scores_of(parameters: Parameters, batch: Batch, config: TowerConfig) -> tuple[Tensor, Tensor]:
    """Scores z(s, a) (B,) of the logged items, and ‖μ(s)‖² (B,)."""
    mean, _ = policy_moments(parameters, batch.observations, config.sigma)
    baseline = value(parameters, batch.observations, "baseline")
    return (mean * batch.actions).sum(dim=-1) + baseline, mean.square().sum(dim=-1)
