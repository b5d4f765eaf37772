"""Configurations of a simulated world, its sessions and its logging agent, with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from recsim_drpo.core.config import Config, Count, NonNegative, Positive, Probability, Seed
from recsim_drpo.simulator.catalogue import MAX_DIM, MIN_DIM

ECPM_PER_REWARD = 5.0
"""eCPM = 5 × reward: the ratio of the two columns of Table 1."""

POLICIES = ("random", "popularity", "expert")
"""The components of the mixture; their positions are the codes in a dataset's ``policy`` column."""

SCENARIOS: Mapping[str, Mapping[str, float]] = {
    "medium": {"expert": 0.10, "popularity": 0.60, "random": 0.30},
    "extreme": {"expert": 0.05, "popularity": 0.05, "random": 0.90},
}
"""Mixture weights of Table 4."""

SPLITS = ("train", "validation", "test")
"""Splits of users: for logs, for choosing agents and for judging them."""

DRAWN_NUM_ITEMS = 5_000
DRAWN_DIM = 128
"""Size of a drawn catalogue where ``num_items`` or ``embedding_dim`` is ``None``; d as in H.1."""

MAX_STEPS = 2**16
"""Steps of the longest session: a step's random counter is session × 2**16 + step."""


@dataclass(frozen=True)
class WorldConfig(Config):
    """Configuration of a world (Appendix H). The defaults are ``RecSimZipf-v0``'s.

    docs/calibration.md tells how they were chosen.

    Attributes:
        catalogue_seed: integer in [0, 2**63): draws items, popularity and how contexts map to
            interests. Independent of the users' seeds.
        num_items: N ≥ 1. ``None``: 5,000, or as many as ``embeddings`` holds.
        embedding_dim: d from 2 to 1,024. ``None``: 128, or the dimension of ``embeddings``.
        num_topics: K ≥ 1 topics.
        topic_spread: from 0 to 100, length of an item's typical deviation from its topic's centre.
        topic_size_exponent: ≥ 0, topics' probabilities ∝ rank^-exponent. Drawn catalogues only.
        popularity_exponent: from 0 to 20, organic popularity ∝ rank^-exponent.
        context_dim: ≥ 1, dimension of a user's context.
        interest_sharpness: from 0 to 1,000; 0 mixes all topics evenly, large values choose one.
        delta: δ of Eq. 48, the width of a user's taste, from 0.001 to 1,000.
        reward_noise: σ_noise of Eq. 49, from 0 to 1,000.
        embeddings: path of real embeddings to use in place of drawn ones.
        embeddings_checksum: the checksum that the catalogue made of that file must have, or
            ``None``. Datasets record it, so that a changed file is noticed.
        normalize: scale the file's rows to unit length.
        id_column: see :func:`recsim_drpo.simulator.embeddings.load_embeddings`.
        vector_columns: likewise.

    Raises:
        ValueError: a value is out of its range.
    """

    catalogue_seed: Seed = 0
    num_items: Count | None = None
    embedding_dim: Annotated[int, Ge(MIN_DIM), Le(MAX_DIM)] | None = None
    num_topics: Count = 20
    topic_spread: Annotated[float, Ge(0.0), Le(100.0)] = 1.0
    topic_size_exponent: NonNegative = 0.5
    popularity_exponent: Annotated[float, Ge(0.0), Le(20.0)] = 1.0
    context_dim: Count = 10
    interest_sharpness: Annotated[float, Ge(0.0), Le(1e3)] = 3.0
    delta: Annotated[float, Ge(1e-3), Le(1e3)] = 0.377
    reward_noise: Annotated[float, Ge(0.0), Le(1e3)] = 0.2
    embeddings: str | None = None
    embeddings_checksum: str | None = None
    normalize: bool = False
    id_column: str | None = None
    vector_columns: str | None = None


@dataclass(frozen=True)
class SessionConfig(Config):
    """Configuration of sessions. The defaults are ``RecSimZipfSession-v0``'s; see docs/sessions.md.

    Attributes:
        exposure_rate: from 0 to 1, how far one step moves the exposure towards the topic shown.
        exposure_pull: from 0 to 100, what full exposure adds to a topic's logit.
        satiation: from 0 to 1, the share of the reward that full exposure takes away.
        leave_base: from 0 to 1, probability of leaving after any step.
        leave_boredom: from 0 to 1, added to it at full exposure to the topic shown.
        leave_disappointment: from 0 to 1, added to it at a reward of 0.
        max_steps: from 1 to 65,536, the number of steps after which a session is cut off.

    Raises:
        ValueError: a value is out of its range.
    """

    exposure_rate: Probability = 0.25
    exposure_pull: Annotated[float, Ge(0.0), Le(100.0)] = 2.0
    satiation: Probability = 0.5
    leave_base: Probability = 0.02
    leave_boredom: Probability = 0.4
    leave_disappointment: Probability = 0.05
    max_steps: Annotated[int, Ge(1), Le(MAX_STEPS)] = 50


@dataclass(frozen=True)
class LoggingConfig(Config):
    """Configuration of the logging agent's three components (H.2), calibrated with the world.

    Attributes:
        expert_temperature: τ_e > 0 of π_expert(i | x) ∝ exp(cos(e_i, u*) / τ_e): an expert that
            sees the user's interest through Gumbel noise of scale τ_e on every item's match.
        popularity_temperature: τ_p > 0 of π_pop(i | x) ∝ p_i^α exp(cos(e_i, u*) / τ_p).
        popularity_bias: α from 0 to 1,000 there, the weight on organic popularity p_i.
        random_exponent: γ from 0 to 1,000 of π_rand(i) ∝ p_i^γ: traffic that knows nothing of the
            user. At 1 it follows organic popularity, without which logs that are 90 % random could
            not be Zipfian (H.2); at 0 it is uniform.

    Raises:
        ValueError: a value is out of its range.
    """

    expert_temperature: Positive = 0.0169
    popularity_temperature: Positive = 0.1123
    popularity_bias: Annotated[float, Ge(0.0), Le(1e3)] = 1.0
    random_exponent: Annotated[float, Ge(0.0), Le(1e3)] = 1.0
