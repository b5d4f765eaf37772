"""Agents by name: built in, registered, offered by installed packages, or ``module:Class``."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, overload

import torch

from recsim_drpo.agents.builtin import BUILT_IN
from recsim_drpo.agents.engine.algorithm import Algorithm
from recsim_drpo.agents.engine.learner import Learner
from recsim_drpo.agents.plugins import (
    Factory,
    check_factory,
    described,
    import_agent,
    load_offered,
    make_by_factory,
    name_within,
    offered,
    summary_of,
)
from recsim_drpo.agents.protocol import Agent
from recsim_drpo.core.config import build_config
from recsim_drpo.core.messages import shown
from recsim_drpo.core.validation import unknown_name

FactoryT = TypeVar("FactoryT", bound=Factory)


class _Registered(NamedTuple):
    factory: Factory
    summary: str


_algorithms: dict[str, Algorithm] = {
    name: pkgutil.resolve_name(place) for name, place in BUILT_IN.items()
}
_factories: dict[str, _Registered] = {}

ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType(_algorithms)
"""Algorithms by name, as they are at any time: ours, registered, and loaded from packages.

A view that cannot be written to: :func:`register_agent` adds to it.
"""


@contextmanager
def restored_registry() -> Iterator[None]:
    """Forget at the end what was registered or loaded from packages meanwhile; for tests."""
    algorithms, factories = dict(_algorithms), dict(_factories)
    try:
        yield
    finally:
        _algorithms.clear()
        _algorithms.update(algorithms)
        _factories.clear()
        _factories.update(factories)


@overload
def register_agent(agent: Algorithm, /) -> Algorithm: ...


@overload
def register_agent(
    agent: str, /, *, summary: str | None = None
) -> Callable[[FactoryT], FactoryT]: ...


def register_agent(
    agent: Algorithm | str, /, *, summary: str | None = None
) -> Algorithm | Callable[[FactoryT], FactoryT]:
    """Give an agent a name, for :func:`make_agent` and the commands of this process.

    ``register_agent(ALGORITHM)`` takes an :class:`.algorithm.Algorithm`, which
    then is as good as a built-in one. ``@register_agent("name")`` decorates a class, or a function
    that returns an agent; :func:`make_agent` says how it is called. What is defined again, as in
    a notebook, takes its former place.

    Args:
        agent: the algorithm, or the name.
        summary: one line for listings; by default the attribute ``summary``, or the first line of
            the docstring.

    Raises:
        ValueError: the name is that of another agent, built in or registered, or is malformed.
        TypeError: neither an algorithm nor a name is given; what is decorated is not callable; an
            algorithm, which has its own summary, is given another.
    """
    if isinstance(agent, Algorithm):
        if summary is not None:
            raise TypeError(f"The algorithm {agent.name!r} has a summary already.")
        _register(agent.name, agent)
        return agent
    if not isinstance(agent, str):  # the decorator without its parentheses
        raise TypeError(f'{shown(agent)} is no name; write @register_agent("name").')

    def decorate(factory: FactoryT) -> FactoryT:
        _register(agent, factory, summary)
        return factory

    return decorate


def _register(name: str, agent: Algorithm | Factory, summary: str | None = None) -> None:
    if not name or ":" in name or name.split() != [name]:
        raise ValueError(f"{shown(name)} is no name for an agent: no colon, no space, not empty.")
    check_factory(agent, f"The agent {shown(name)}")
    former = _algorithms.get(name) or (_factories[name].factory if name in _factories else None)
    if former is agent:
        return
    if former is not None and (name in BUILT_IN or _origin(former) != _origin(agent)):
        owner = "a built-in agent" if name in BUILT_IN else _origin(former)
        raise ValueError(
            f"{_origin(agent)} cannot be the agent {shown(name)}: that is {owner}; choose another "
            "name."
        )
    if isinstance(agent, Algorithm):
        _factories.pop(name, None)
        _algorithms[name] = agent
    else:
        _algorithms.pop(name, None)
        _factories[name] = _Registered(agent, summary or summary_of(agent))


def _origin(agent: Algorithm | Factory) -> str:
    source = agent.loss if isinstance(agent, Algorithm) else agent
    return f"{source.__module__}:{name_within(source)}"


def agent_names() -> dict[str, str]:
    """Names of agents, each with one line about it: built in, registered, from packages.

    No package's agent is imported for that: of one that has not been used in this process the line
    says which package offers it, and as what.
    """
    algorithms = {name: algorithm.summary for name, algorithm in _algorithms.items()}
    factories = {name: registered.summary for name, registered in _factories.items()}
    from_packages = {name: described(entries) for name, entries in offered().items()}
    return (
        algorithms
        | factories
        | {
            name: line
            for name, line in from_packages.items()
            if name not in algorithms and name not in factories
        }
    )


def find_agent(name: str) -> Algorithm | Factory:
    """The algorithm, class or factory of that name; imports no other agent.

    An :class:`~recsim_drpo.agents.engine.algorithm.Algorithm` that a package offers is among
    :data:`ALGORITHMS` from then on.

    Raises:
        ValueError: an unknown name (the nearest is suggested).
        ImportError: it cannot be imported; the cause is attached.
        TypeError: it is no class, factory or algorithm.
    """
    if ":" in name:
        return import_agent(name)
    if name not in _algorithms and name not in _factories:
        entries = offered()
        if name not in entries:
            error = unknown_name("agent", name, {*_algorithms, *_factories, *entries})
            raise ValueError(f"{error} Or name one by module:Class.")
        _register(name, load_offered(entries[name]))
    return _algorithms[name] if name in _algorithms else _factories[name].factory


class Needs(NamedTuple):
    """What an agent reads of a log besides contexts, actions, rewards and ends.

    Attributes:
        infos: names of info columns.
        items: whether it draws items of the catalogue.
    """

    infos: tuple[str, ...] = ()
    items: bool = False


def needs_of(name: str, **hyperparameters: Any) -> Needs:
    """What an agent of this name and these hyper-parameters reads of a log.

    Agents from outside that are no algorithm do not say: nothing is known to be needed.

    Raises:
        ValueError, ImportError, TypeError: as :func:`make_agent`.
    """
    agent = find_agent(name)
    if not isinstance(agent, Algorithm):
        return Needs()
    config = build_config(agent.config, hyperparameters, f"hyper-parameter of {shown(name)}")
    return Needs(tuple(agent.infos(config)), agent.negatives(config) > 0)


def make_agent(
    name: str,
    *,
    observation_dim: int,
    action_dim: int,
    seed: int = 0,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    precision: str = "float32",
    execution: str = "auto",
    **hyperparameters: Any,
) -> Agent:
    """A fresh agent, made of its name and hyper-parameters.

    An agent from outside is made by ``factory(observation_dim=…, action_dim=…, seed=…, device=…,
    **hyperparameters)``, checked by its signature beforehand; the device is a ``torch.device``.

    Args:
        name: one of :func:`agent_names`, or ``module:Class``.
        observation_dim: dimension o of observations.
        action_dim: dimension a of actions.
        seed: integer in [0, 2**63).
        device: where it learns and acts.
        dtype: float32 or float64. This and the next two are of our algorithms alone.
        precision: see :func:`recsim_drpo.core.torch_settings.matrix_precision`.
        execution: see :class:`recsim_drpo.agents.engine.options.EngineOptions`.
        **hyperparameters: fields of the algorithm's configuration, or keywords of the factory; the
            rest keep their defaults.

    Returns:
        the agent; of an algorithm, a :class:`~recsim_drpo.agents.engine.learner.Learner`.

    Raises:
        ValueError: an unknown name or hyper-parameter (the nearest is suggested), a value out of
            its range, or a device that is not there.
        ImportError: an agent from outside cannot be imported; the cause is attached.
        TypeError: an agent from outside cannot be made so, or lacks a method of an agent.
    """
    agent = find_agent(name)
    if isinstance(agent, Algorithm):
        config = build_config(agent.config, hyperparameters, f"hyper-parameter of {shown(name)}")
        return Learner(
            agent,
            observation_dim,
            action_dim,
            config,
            seed,
            device=device,
            dtype=dtype,
            precision=precision,
            execution=execution,
        )
    if (dtype, precision, execution) != (torch.float32, "float32", "auto"):
        raise ValueError(
            f"The agent {shown(name)} is from outside: dtype, precision and execution are its own "
            f"affair, not {dtype}, {shown(precision)}, {shown(execution)}."
        )
    return make_by_factory(
        name,
        agent,
        observation_dim=observation_dim,
        action_dim=action_dim,
        seed=seed,
        device=device,
        hyperparameters=hyperparameters,
    )


@dataclass(frozen=True)
class AgentSpec:
    """The arguments that an agent is made of: what a run remembers of it beside its state.

    Attributes:
        name: one of :func:`agent_names`, or ``module:Class``.
        observation_dim: dimension o of observations.
        action_dim: dimension a of actions.
        seed: integer in [0, 2**63).
        hyperparameters: as given; the rest keep their defaults. To be kept in a run folder they
            have to be what JSON can hold.
    """

    name: str
    observation_dim: int
    action_dim: int
    seed: int = 0
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    def make(self, device: str | torch.device = "cpu", **options: Any) -> Agent:
        """A fresh agent, by :func:`make_agent`, whose ``dtype`` and others ``options`` may be."""
        return make_agent(
            self.name,
            observation_dim=self.observation_dim,
            action_dim=self.action_dim,
            seed=self.seed,
            device=device,
            **options,
            **self.hyperparameters,
        )
