"""Conditions that agents are compared under: a world, a logging mixture and a number of rounds.

What the paper leaves undefined is defined here. *Noise ratio* replaces that share of the logged
rounds by π_rand's (Figure 3). *Policy noise* is the share of the expert's rounds in which π_rand's
item is logged instead, *reward noise* is σ_noise (Table 6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from recsim_drpo.benchmarks.calibrate import GRID, admissible, measure, solve
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.core.validation import check_integer, check_number, unknown_name
from recsim_drpo.datasets.generate import simulate_transitions
from recsim_drpo.envs.registration import ENV_ID, ENVIRONMENTS
from recsim_drpo.simulator.config import POLICIES, LoggingConfig, SessionConfig, WorldConfig
from recsim_drpo.simulator.logging_agent import mixture_weights
from recsim_drpo.simulator.world import make_world

NUM_ROUNDS = 200_000
"""Rounds logged for each seed, where an experiment does not vary it. The paper states none."""

_LATENT = "latent_reward"
_AT_A_TIME = 10_000

HELD_OUT = 1_000_003
"""Added to a seed: the log that an agent of that seed is chosen on, and was not trained on."""

LOG_INFOS = ("item_id", "propensity")
"""Info columns of the logs that experiments draw."""


@dataclass(frozen=True)
class Condition:
    """A world, and how logs are drawn in it.

    Attributes:
        label: what tables and figures call it.
        weights: of the logging mixture, by component, summing to 1.
        world: fields of :class:`WorldConfig`, and where there are sessions of
            :class:`SessionConfig`, that are not the registered ones.
        logging: fields of :class:`LoggingConfig` that are not the calibrated ones.
        num_rounds: rounds logged for each seed, ≥ 1.
        unclipped: log R + σ_noise ε as it is, where Eq. 49 clips it to [0, 1]: the reading by which
            noise comes after the clip.
        env: id of the environment whose users are logged.
    """

    label: str
    weights: Mapping[str, float]
    world: Mapping[str, Any] = field(default_factory=dict)
    logging: Mapping[str, Any] = field(default_factory=dict)
    num_rounds: int = NUM_ROUNDS
    unclipped: bool = False
    env: str = ENV_ID

    def __post_init__(self) -> None:
        mixture_weights(self.weights)
        if self.env not in ENVIRONMENTS:
            raise unknown_name("environment", self.env, ENVIRONMENTS)
        of_sessions = {f.name for f in fields(SessionConfig)} if self.has_sessions else set()
        SessionConfig(**{name: v for name, v in self.world.items() if name in of_sessions})
        WorldConfig(**{name: v for name, v in self.world.items() if name not in of_sessions})
        if self.unclipped and self.has_sessions:
            raise ValueError("unclipped=True is of rounds; logs of sessions are clipped to [0, 1].")
        LoggingConfig(**self.logging)
        check_integer("num_rounds", self.num_rounds, 1)

    @property
    def has_sessions(self) -> bool:
        """Whether users stay for sessions: the value of a policy is then a session's return."""
        return ENVIRONMENTS[self.env].has_sessions

    def log(
        self,
        seed: int,
        *,
        num_rounds: int | None = None,
        device: str = "cpu",
        infos: Sequence[str] = LOG_INFOS,
    ) -> Transitions:
        """The log that a seed draws, with info columns; of sessions, whole ones."""
        log = simulate_transitions(
            env=self.env,
            scenario=self.weights,
            num_rounds=self.num_rounds if num_rounds is None else num_rounds,
            seed=seed,
            env_kwargs=self.world,
            logging_config=LoggingConfig(**self.logging),
            device=device,
            infos=[*dict.fromkeys((*infos, *([_LATENT] if self.unclipped else [])))],
        )
        if self.unclipped:
            self._unclip(log, seed)
        return log

    def _unclip(self, log: Transitions, seed: int) -> None:
        """Put back what the clip took from the rewards: the same users have the same noise."""
        world = make_world(log.device, **self.world)
        for rounds in torch.split(torch.arange(len(log)), _AT_A_TIME):
            noise = world.users("train", seed, rounds).reward_noise
            rows = rounds.to(log.device)
            latent = log.infos[_LATENT][rows]
            log.rewards[rows] = latent + world.config.reward_noise * noise

    def as_dict(self) -> dict[str, Any]:
        """The condition's fields by name, for JSON."""
        plain = asdict(self)
        if not self.unclipped:
            del plain["unclipped"]  # which folders of before do not name
        if self.env == ENV_ID:
            del plain["env"]  # likewise
        return plain


def scenario(name: str, **changes: Any) -> Condition:
    """A scenario of Table 4, ``"medium"`` or ``"extreme"``, with other fields changed."""
    weights = dict(zip(POLICIES, mixture_weights(name), strict=True))
    return replace(Condition(name, weights), **changes)


def noise_injected(base: Condition, ratio: float) -> Condition:
    """The base condition with a ratio in [0, 1] of its rounds replaced by π_rand's (Figure 3)."""
    check_number("ratio", ratio, 0.0, 1.0)
    weights = {name: (1.0 - ratio) * weight for name, weight in base.weights.items()}
    weights["random"] = weights.get("random", 0.0) + ratio
    return replace(base, label=f"{base.label}, {ratio:.0%} noise", weights=weights)


def expert_degraded(base: Condition, policy_noise: float, reward_noise: float) -> Condition:
    """The base condition with a share in [0, 1] of the expert's rounds random (Table 6)."""
    check_number("policy_noise", policy_noise, 0.0, 1.0)
    weights = {name: base.weights.get(name, 0.0) for name in POLICIES}
    moved = policy_noise * weights["expert"]
    weights |= {"expert": weights["expert"] - moved, "random": weights["random"] + moved}
    return replace(
        base,
        label=f"{base.label}, policy noise {policy_noise:g}, reward noise {reward_noise:g}",
        weights=weights,
        world={**base.world, "reward_noise": reward_noise},
    )


EXPERT_ONLY = Condition("expert logs", {"expert": 1.0})
"""All rounds the expert's: the other natural reading of what Table 6 degrades."""


@dataclass(frozen=True)
class OtherWorld:
    """A world of the robustness set.

    Attributes:
        number: k = 1, 2, …: its catalogue seed, and its place.
        world: fields of :class:`WorldConfig`.
        logging: fields of :class:`LoggingConfig`.
        num_rounds: rounds logged.
        facts: what was measured of it.
    """

    number: int
    world: dict[str, Any]
    logging: dict[str, Any]
    num_rounds: int
    facts: dict[str, Any]

    def condition(self, name: str) -> Condition:
        """A scenario of Table 4 in this world."""
        return scenario(
            name,
            label=f"world {self.number}, {name}",
            world=self.world,
            logging=self.logging,
            num_rounds=self.num_rounds,
        )


_CHOICES: dict[str, list[Any]] = {**GRID, "reward_noise": [0.1, 0.2, 0.4]}
_POPULARITY_EXPONENTS = (0.6, 1.1)
_ROUNDS = (50_000, 100_000, 200_000, 400_000)
_CALIBRATION_USERS = 800


@lru_cache(maxsize=2)
def other_worlds(count: int = 8) -> tuple[OtherWorld, ...]:
    """The robustness set: worlds that meet the same facts as the registered one.

    The rule, which knows no agent: candidates k = 1, 2, … each draw by NumPy's generator of seed k
    the number of topics, their spread and size exponent and the sharpness of interests from the
    grid that the registered world was searched in, σ_noise from {0.1, 0.2, 0.4}, the popularity
    exponent from U(0.6, 1.1) (the range of real catalogues) and the rounds logged from {50,000,
    100,000, 200,000, 400,000}; k is the catalogue seed, that is the interest map as well. δ, τ_e
    and τ_p are solved for the optimum, the expert and the teacher as in docs/calibration.md, and
    the first ``count`` candidates that meet the facts there are the set.
    """
    admitted: list[OtherWorld] = []
    number = 0
    while len(admitted) < count:
        number += 1
        generator = np.random.default_rng(number)
        world: dict[str, Any] = {
            name: values[int(generator.integers(len(values)))] for name, values in _CHOICES.items()
        }
        world["popularity_exponent"] = round(float(generator.uniform(*_POPULARITY_EXPONENTS)), 3)
        world["catalogue_seed"] = number
        num_rounds = int(_ROUNDS[int(generator.integers(len(_ROUNDS)))])
        config, logging = solve(WorldConfig(**world), _CALIBRATION_USERS)
        facts = measure(config, logging, _CALIBRATION_USERS)
        if admissible(facts):
            temperatures = {
                "expert_temperature": logging.expert_temperature,
                "popularity_temperature": logging.popularity_temperature,
            }
            world["delta"] = config.delta
            admitted.append(OtherWorld(number, world, temperatures, num_rounds, facts))
    return tuple(admitted)
