"""Invalid values are generated from what fields declare, for every configuration that there is."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Annotated

import pytest
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import given, settings, strategies as st

import recsim_drpo.agents.registry
import recsim_drpo.serving.online
import recsim_drpo.training.loop  # noqa: F401
from recsim_drpo.core.config import (
    Config,
    Count,
    FieldRule,
    OneOf,
    Seed,
    Share,
    build_config,
    field_rules,
)
from recsim_drpo.serving.exploration import Exploration
from recsim_drpo.simulator.config import LoggingConfig, SessionConfig, WorldConfig
from recsim_drpo.training.config import TrainingConfig


def subclasses(config: type) -> list[type]:
    return [cls for child in config.__subclasses__() for cls in (child, *subclasses(child))]


CONFIGS = sorted(
    {cls for cls in subclasses(Config) if cls.__module__.startswith("recsim_drpo.")}, key=str
)


def checked_fields(config: type) -> list[tuple[str, FieldRule]]:
    """The fields of a configuration whose values are checked, by name."""
    return [(name, rule) for name, rule in field_rules(config).items() if rule.kind is not None]


@functools.cache
def outside(rule: FieldRule) -> st.SearchStrategy[object]:
    """Values that a rule must not let pass, at its bounds first of all."""
    wrong = [st.just(object()), st.just([]), st.just(b"1")]
    if not rule.optional:
        wrong.append(st.none())
    if rule.kind is bool:
        return st.one_of(*wrong, st.integers(), st.text(), st.floats())
    if rule.kind is str:
        if rule.names:
            wrong.append(st.text().filter(lambda text: text not in rule.names))
        return st.one_of(*wrong, st.integers(), st.floats())
    wrong += [st.booleans(), st.text()]
    if rule.kind is int:
        wrong += [st.floats()]
        if not math.isinf(rule.low):
            wrong.append(st.integers(max_value=int(rule.low) - 1))
        if not math.isinf(rule.high):
            wrong.append(st.integers(min_value=int(rule.high) + rule.include_high))
        return st.one_of(*wrong)
    wrong += [st.just(value) for value in (math.nan, math.inf, -math.inf)]
    if not math.isinf(rule.low):
        wrong.append(st.floats(max_value=rule.low, exclude_max=rule.include_low))
    if not math.isinf(rule.high):
        wrong.append(st.floats(min_value=rule.high, exclude_min=rule.include_high))
    return st.one_of(*wrong)


def inside(rule: FieldRule) -> list[object]:
    """The ends of what a rule lets pass."""
    if rule.kind is bool:
        return [True, False]
    if rule.kind is str:
        return list(rule.names)
    if rule.kind is int:
        ends = [int(rule.low)] if not math.isinf(rule.low) else []
        return ends + ([] if math.isinf(rule.high) else [int(rule.high) - (not rule.include_high)])
    ends = []
    if not math.isinf(rule.low):
        ends.append(rule.low if rule.include_low else math.nextafter(rule.low, math.inf))
    if not math.isinf(rule.high):
        ends.append(rule.high if rule.include_high else math.nextafter(rule.high, -math.inf))
    return ends


def beside(config: type, name: str, value: object) -> dict[str, object]:
    """Other fields that a value of a field needs beside it."""
    if name == "initial_kappa":
        return {"min_kappa": value}
    if config is Exploration:  # by epsilon or by temperature
        if name == "temperature":
            return {"epsilon": 0.5} if value is None else {}
        return {"temperature": 1.0} if name == "top" or value is None else {"epsilon": 0.5}
    return {"min_kappa": {"adaptive": False}, "max_k": {"k": 1}}.get(name, {})


def test_every_configuration_is_here():
    names = {config.__name__ for config in CONFIGS}
    assert {"WorldConfig", "SessionConfig", "LoggingConfig", "TrainingConfig"} <= names
    assert {"BCConfig", "DRPOConfig", "IQLConfig", "CRRConfig", "BPPOConfig"} <= names
    for config in CONFIGS:
        assert all(rule.kind is not None for rule in field_rules(config).values()), config


@pytest.mark.parametrize("config", CONFIGS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_values_outside_are_refused_by_the_fields_name(config, data):
    for name, rule in checked_fields(config):
        value = data.draw(outside(rule), label=name)
        with pytest.raises(ValueError, match=name.replace("_", ".")):
            config(**{name: value})


@pytest.mark.parametrize("config", CONFIGS)
def test_the_ends_of_what_is_allowed_are_allowed(config):
    for name, rule in checked_fields(config):
        for value in [*inside(rule), *([None] if rule.optional else [])]:
            made = config(**{**beside(config, name, value), name: value})
            assert getattr(made, name) == value, name


@pytest.mark.parametrize("config", CONFIGS)
def test_defaults_are_allowed_and_stay_frozen(config):
    made = config(**beside(config, "seed", 0) if config is Exploration else {})
    name = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, name, None)


def test_rules_are_read_from_annotations():
    @dataclasses.dataclass(frozen=True)
    class Mine(Config):
        share: Share = 0.5
        size: Annotated[int, Ge(2), Lt(9)] | None = None
        rate: Annotated[float, Gt(0.0), Le(3.0)] = 1.0
        seed: Seed = 0
        count: Count = 1
        kind: Annotated[str, OneOf(("a", "b"))] = "a"
        path: str | None = None
        anything: tuple[int, ...] = ()

    rules = field_rules(Mine)
    assert rules["share"] == FieldRule(float, low=0.0, high=1.0, include_low=False)
    assert rules["size"] == FieldRule(int, optional=True, low=2, high=9, include_high=False)
    assert rules["rate"].include_high
    assert not rules["rate"].include_low
    assert rules["anything"].kind is None
    for wrong, message in (
        ({"share": 0}, r"share=0 is not a number in \(0, 1\]"),
        ({"size": 9}, "size=9 is not an integer from 2 to 8"),
        ({"count": 0}, "count=0 is not an integer at least 1"),
        ({"seed": -1}, r"seed=-1 is not an integer in \[0, 2\*\*63\)"),
        ({"kind": "c"}, "Unknown kind 'c'.*Known: a, b"),
        ({"path": 3}, "path=3 is not text"),
    ):
        with pytest.raises(ValueError, match=message):
            Mine(**wrong)
    assert Mine(size=8, path="here", anything=(1,)).size == 8


def test_fields_that_are_not_there_are_named():
    with pytest.raises(ValueError, match=r"Unknown field 'stepps'\. Did you mean 'steps'"):
        build_config(TrainingConfig, {"stepps": 3}, "field")
    assert build_config(WorldConfig, {"delta": 0.5}, "field").delta == 0.5


def test_floors_and_ceilings_that_belong_together():
    from recsim_drpo.agents.algorithms.drpo import DRPOConfig

    with pytest.raises(ValueError, match=r"min_kappa=0.6 is above initial_kappa=0.5"):
        DRPOConfig(min_kappa=0.6)
    assert DRPOConfig(min_kappa=0.6, adaptive=False).min_kappa == 0.6


def test_numpy_integers_count_as_integers():
    import numpy as np

    assert SessionConfig(max_steps=np.int64(7)).max_steps == 7
    assert LoggingConfig(popularity_bias=np.float32(0.5)).popularity_bias == 0.5
