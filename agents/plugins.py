"""Agents from outside: found by ``module:name`` or by entry point, and made on one contract."""

from __future__ import annotations

import importlib
import inspect
import operator
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import torch

from recsim_drpo.agents.engine.algorithm import Algorithm
from recsim_drpo.agents.protocol import Agent, check_agent
from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.core.torch_settings import resolve_device
from recsim_drpo.core.validation import check_integer, check_seed, unknown_name

GROUP = "recsim_drpo.agents"
"""The group of entry points by which an installed package offers agents."""

LIBRARIES = {
    "d3rlpy": "recsim_drpo.adapters.d3rlpy",
    "sb3": "recsim_drpo.adapters.stable_baselines3",
}
"""Whose algorithms are agents as ``library:Algorithm``, and what makes agents of them."""

Factory = Callable[..., Agent]
"""A class or function called as ``factory(observation_dim=, action_dim=, seed=, device=, …)``."""

_CONTRACT = ("observation_dim", "action_dim", "seed", "device")


def offered() -> dict[str, list[EntryPoint]]:
    """The entry points of installed packages by name, sorted; imports none of them.

    More than one under a name means that packages disagree on what it is.
    """
    by_name: dict[str, list[EntryPoint]] = {}
    unique = {(entry.name, entry.value): entry for entry in entry_points(group=GROUP)}
    for name, value in sorted(unique):
        by_name.setdefault(name, []).append(unique[name, value])
    return by_name


def described(entries: list[EntryPoint]) -> str:
    """One line on the entry points of a name, which imports none of them."""
    sources = [f"{entry.value} of {entry.dist.name if entry.dist else '?'}" for entry in entries]
    if len(entries) > 1:
        return f"no agent, as several packages offer it: {', '.join(sources)}"
    return f"from a package: {sources[0]}"


def load_offered(entries: list[EntryPoint]) -> Algorithm | Factory:
    """The algorithm, class or factory that the entry points of one name stand for, imported.

    Raises:
        ImportError: it cannot be imported; the cause is attached.
        TypeError: it is neither class nor factory nor :class:`Algorithm`.
        ValueError: several packages offer the name, or an algorithm is called otherwise.
    """
    entry = entries[0]
    if len(entries) > 1:
        values = ", ".join(repr(entry.value) for entry in entries)
        raise ValueError(f"The agent {entry.name!r} is offered by several packages: {values}.")
    what = f"The agent {entry.name!r} ({entry.value})"
    agent = _imported(entry.load, what)
    if isinstance(agent, Algorithm) and agent.name != entry.name:
        raise ValueError(f"{what} is an algorithm called {agent.name!r}; name both alike.")
    return agent


def import_agent(reference: str) -> Algorithm | Factory:
    """The class, factory or algorithm that a reference names, imported.

    Args:
        reference: ``module:name``, for example ``"my_package.td3_bc:TD3BC"``, or an algorithm of
            one of the :data:`LIBRARIES`, ``"d3rlpy:IQL"``.

    Raises:
        ImportError: the module or the name in it cannot be imported; the cause is attached.
        TypeError: it is neither class nor factory nor :class:`Algorithm`.
        ValueError: the reference is not of that form; the library has no such algorithm.
    """
    module, _, attribute = reference.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise ValueError(f"{shown(reference)} is not of the form module:Class.")
    if module in LIBRARIES:
        factory: Factory = importlib.import_module(LIBRARIES[module]).factory(attribute)
        return factory
    return _imported(
        lambda: operator.attrgetter(attribute)(importlib.import_module(module)),
        f"The agent {shown(reference)}",
    )


def _imported(load: Callable[[], Any], what: str) -> Algorithm | Factory:
    try:
        agent = load()
    except Exception as error:  # a module may raise anything while it is imported
        raise ImportError(
            f"{what} cannot be imported ({type(error).__name__}: {error}); is its package "
            "installed, or its folder on PYTHONPATH?"
        ) from error
    return check_factory(agent, what)


def check_factory(agent: Any, what: str) -> Algorithm | Factory:
    """The same ``agent``; raises ``TypeError`` unless agents can be made of it."""
    if isinstance(agent, Algorithm):
        return agent
    if not callable(agent):
        raise TypeError(
            f"{what} is a {type(agent).__name__}; agents are made of a class, a factory or an "
            "Algorithm."
        )
    factory: Factory = agent
    return factory


def summary_of(agent: Algorithm | Factory) -> str:
    """One line about an agent: its ``summary``, else its docstring's first line, else its name."""
    summary = getattr(agent, "summary", None)
    # A class may well have a method of that name.
    text = summary if isinstance(summary, str) else agent.__doc__ or ""
    lines = inspect.cleandoc(text).splitlines()
    return lines[0] if lines else f"{agent.__module__}:{name_within(agent)}"


def name_within(agent: object) -> str:
    """The qualified name of a class or function; of another object, that of its class."""
    return str(getattr(agent, "__qualname__", type(agent).__qualname__))


def make_by_factory(
    name: str,
    factory: Factory,
    *,
    observation_dim: int,
    action_dim: int,
    seed: int,
    device: str | torch.device,
    hyperparameters: Mapping[str, Any],
) -> Agent:
    """The agent that a factory makes, called by its contract, and checked to be an agent.

    Raises:
        ValueError: a hyper-parameter that the factory does not take, a dimension or seed out of its
            range, or a device that is not there.
        TypeError: the factory cannot be called so, or what it returns is no agent.
    """
    check_integer("observation_dim", observation_dim, 1)
    check_integer("action_dim", action_dim, 1)
    check_seed(seed)
    check_call(name, factory, hyperparameters)
    keywords = {"observation_dim": observation_dim, "action_dim": action_dim, "seed": seed}
    where = resolve_device(device)
    try:
        agent = factory(**keywords, device=where, **hyperparameters)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, NameError) as error:
        raise TypeError(f"The agent {shown(name)} could not be made: {shown(error)}.") from error
    check_agent(agent)
    return agent


def check_call(name: str, factory: Factory, hyperparameters: Mapping[str, Any]) -> None:
    """Raise unless a factory's signature takes the contract's keywords and the hyper-parameters.

    Checked before the call, so that a mistake in it is told from one within the factory.

    Raises:
        ValueError: a hyper-parameter is unknown; names it, the nearest and the known ones.
        TypeError: the signature does not fit otherwise.
    """
    try:
        signature = inspect.signature(factory)
    except ValueError as error:
        raise TypeError(f"The agent {shown(name)} cannot be made: {error}.") from error
    parameters = signature.parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        keywords = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        taken = [parameter.name for parameter in parameters if parameter.kind in keywords]
        known = [keyword for keyword in taken if keyword not in _CONTRACT]
        for hyperparameter in hyperparameters:
            if hyperparameter not in known:
                raise unknown_name(f"hyper-parameter of {shown(name)}", hyperparameter, known)
    try:
        signature.bind(**dict.fromkeys(_CONTRACT), **hyperparameters)
    except TypeError as error:
        raise TypeError(
            f"The agent {shown(name)} cannot be made by {name_within(factory)}{signature}: "
            f"{one_line(error)}. It is called with the keywords {', '.join(_CONTRACT)} and the "
            "hyper-parameters given."
        ) from error
