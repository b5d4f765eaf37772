"""Environments of this package by id and keyword arguments, and the worlds that they describe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import gymnasium as gym
import torch
from gymnasium.envs.registration import EnvSpec

from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.envs.registration import ENVIRONMENTS
from recsim_drpo.simulator.catalogue import SimulatedCatalogue
from recsim_drpo.simulator.config import WorldConfig
from recsim_drpo.simulator.decoder_names import EXACT
from recsim_drpo.simulator.described_catalogue import make_catalogue
from recsim_drpo.simulator.sessions import Sessions, make_sessions
from recsim_drpo.simulator.world import World, make_world

_NOT_OF_THE_WORLD = ("render_mode", "split", "device")
_TRANSPARENT_WRAPPERS = frozenset(
    {
        *(
            "PassiveEnvChecker",
            "OrderEnforcing",
            "Autoreset",
            "TimeLimit",
            "RecordEpisodeStatistics",
        ),
        *("RecordVideo", "HumanRendering", "RenderCollection"),
        *("ClipReward", "NormalizeReward", "TransformReward", "DataCollector", "Monitor"),
    }
)
"""Wrappers through which a policy sees and does what it would without them."""


def translating_wrappers(env: EnvSpec | gym.Env[Any, Any]) -> list[str]:
    """Names of the wrappers that change what a policy sees or does, of an environment or its spec.

    Behind them a world's contexts and items are not what a policy sees and does, so that it cannot
    be measured in the world itself. Of a wrapper that is not known it is taken that it does.
    """
    if isinstance(env, EnvSpec):
        names = [wrapper.name for wrapper in env.additional_wrappers]
    else:
        names = []
        while isinstance(env, gym.Wrapper):
            names.append(type(env).__name__)
            env = env.env
    return [name for name in names if name not in _TRANSPARENT_WRAPPERS]


def spec_of_json(text: str) -> EnvSpec:
    """The Gymnasium spec that JSON describes; nothing that it names is imported.

    Raises:
        ValueError: it describes none.
    """
    try:
        spec = EnvSpec.from_json(text)
        if not isinstance(spec.kwargs, dict):
            raise TypeError(f"its kwargs are {shown(spec.kwargs)}")
    except (ArithmeticError, LookupError, RecursionError) as error:
        reason: object = f"{type(error).__name__}: {error}"
    except (AttributeError, TypeError, ValueError, gym.error.Error) as error:
        reason = error.__cause__ or error
    else:
        return spec
    raise ValueError(
        f"The spec of an environment, {shown(text)}, is damaged: {one_line(str(reason))}"
    )


@dataclass(frozen=True)
class WorldSpec:
    """Description of an environment of this package: its id, and the keywords of its world.

    Attributes:
        env_id: one of :data:`.registration.ENVIRONMENTS`.
        kwargs: keyword arguments of the environment, less ``render_mode``, ``split``, ``device``.
    """

    env_id: str
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, spec: EnvSpec | str | None) -> WorldSpec | None:
        """Description of the environment that a Gymnasium spec is of.

        Args:
            spec: of a dataset, a run or a caller; or its JSON.

        Returns:
            ``None`` where there is no spec, or its environment is not of this package, or it is
            seen through :func:`translating_wrappers`.

        Raises:
            ValueError: the JSON describes no environment.
        """
        if isinstance(spec, str):
            spec = spec_of_json(spec)
        if spec is None or spec.id not in ENVIRONMENTS or translating_wrappers(spec):
            return None
        kwargs = {k: v for k, v in spec.kwargs.items() if k not in _NOT_OF_THE_WORLD}
        return cls(spec.id, kwargs)

    @property
    def has_sessions(self) -> bool:
        """Whether users stay for sessions; else they meet one recommendation each."""
        return ENVIRONMENTS[self.env_id].has_sessions

    @property
    def decoder(self) -> str:
        """The name of the decoder of the world; ``"exact"`` where it names none."""
        return str(self.kwargs.get("decoder") or EXACT)

    def decoded_by(self, decoder: str | None) -> WorldSpec:
        """The same world with the decoder of this name; ``None``: as it is."""
        if decoder is None:
            return self
        return WorldSpec(self.env_id, {**self.kwargs, "decoder": decoder})

    def world(self, device: str | torch.device = "cpu") -> World | Sessions:
        """World of a bandit, or sessions in one, on a device."""
        if self.has_sessions:
            return make_sessions(device, **self.kwargs)
        return make_world(device, **self.kwargs)

    def catalogue(self) -> SimulatedCatalogue:
        """The items of the world, without the rest of it."""
        known = {field.name for field in fields(WorldConfig)}
        return make_catalogue(WorldConfig(**{k: v for k, v in self.kwargs.items() if k in known}))

    def make_vec(self, num_envs: int, device: str | torch.device = "cpu") -> Any:
        """Native vector environment of ``num_envs`` training users."""
        return gym.make_vec(
            self.env_id, num_envs, "vector_entry_point", device=str(device), **self.kwargs
        )
