"""What a search varies: hyper-parameters by name, each with the values that are tried."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_drpo.agents.engine.algorithm import Algorithm
from recsim_drpo.agents.registry import find_agent
from recsim_drpo.core.config import Searched, build_config, field_rules
from recsim_drpo.core.files import read_text
from recsim_drpo.core.json_text import json_value
from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.core.validation import as_number, unknown_name
from recsim_drpo.training.sweep import hyperparameters

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Space = Mapping[str, "Range | Choices"]
"""What is varied, by hyper-parameter; ``batch_size`` may be among them."""

_TABLE = {"low", "high", "log"}


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, whole ones where both are integers.

    Attributes:
        low: the least value.
        high: the largest, above it.
        log: whether orders of magnitude are alike, and not differences.

    Raises:
        ValueError: there is nothing between the two, or orders of magnitude of what is not above 0.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        low, high = as_number(self.low), as_number(self.high)
        if low is None or high is None or not -math.inf < low < high < math.inf:
            raise ValueError(
                f"{shown(self)} is no range: two numbers are needed, the lesser first."
            )
        if self.log and low <= 0.0:
            raise ValueError(f"{shown(self)}: log is for ranges above 0.")

    def __str__(self) -> str:
        """As it is written on a command line."""
        return f"{self.low:g}:{self.high:g}" + (":log" if self.log else "")

    @property
    def ends(self) -> Sequence[Any]:
        """The values that stand for all: what is allowed at both ends is so between."""
        return self.low, self.high

    def distribution(self) -> BaseDistribution:
        """As Optuna knows it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.log)
        return FloatDistribution(float(self.low), float(self.high), log=self.log)


@dataclass(frozen=True)
class Choices:
    """One of several values, in no order.

    Raises:
        ValueError: fewer than two, one twice, or one that is no number, text or truth.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        plain = all(isinstance(value, bool | int | float | str) for value in self.values)
        if not plain or len(self.values) < 2 or len({*map(repr, self.values)}) < len(self.values):
            raise ValueError(
                f"{shown(list(self.values))} are no choices: two or more different numbers, texts "
                "or truths are needed."
            )

    def __str__(self) -> str:
        """As it is written on a command line."""
        return ",".join(v if isinstance(v, str) else json.dumps(v) for v in self.values)

    @property
    def ends(self) -> Sequence[Any]:
        """All of them."""
        return self.values

    def distribution(self) -> BaseDistribution:
        """As Optuna knows it."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)


def declared_space(agent: str) -> dict[str, Range | Choices]:
    """What the configuration of an agent of ours declares with :class:`.config.Searched`.

    Empty for an agent from outside that is no :class:`.Algorithm`.

    Raises:
        ValueError: there is no such agent.
    """
    found = find_agent(agent)
    if not isinstance(found, Algorithm):
        return {}
    rules = field_rules(found.config).items()
    looks: dict[str, Searched] = {name: rule.searched for name, rule in rules if rule.searched}
    return {name: Range(look.low, look.high, look.log) for name, look in looks.items()}


def read_space(path: str | Path) -> dict[str, Range | Choices]:
    """The space that a TOML file describes: a table of low, high and log, or an array, by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no TOML, or describes something else.
    """
    try:
        content = tomllib.loads(read_text(Path(path)))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is no TOML: {one_line(error)}.") from error
    return {name: _of_toml(name, value) for name, value in content.items()}


def _of_toml(name: str, value: Any) -> Range | Choices:
    if isinstance(value, list):
        return _named(name, lambda: Choices(tuple(value)))
    if isinstance(value, dict) and {"low", "high"} <= value.keys() <= _TABLE:
        log = value.get("log", False)
        if isinstance(log, bool):
            return _named(name, lambda: Range(value["low"], value["high"], log))
    raise ValueError(
        f"{shown(name)} is {shown(value)}: an array of values is needed, or a table of low, high "
        "and, if so wanted, log = true."
    )


def parse_space(words: Sequence[str]) -> dict[str, Range | Choices]:
    """The space of words ``NAME=LOW:HIGH``, ``NAME=LOW:HIGH:log`` and ``NAME=ONE,OTHER``.

    Raises:
        ValueError: a word of another form, or a name twice.
    """
    space: dict[str, Range | Choices] = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not separator or not name:
            raise ValueError(
                f"{shown(word)} is not of the form NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B."
            )
        if name in space:
            raise ValueError(f"{shown(name)} is given twice; once is clear.")
        space[name] = _of_text(name, text)
    return space


def _of_text(name: str, text: str) -> Range | Choices:
    low, *rest = text.split(":")
    if not rest:
        return _named(name, lambda: Choices(tuple(_value(part) for part in text.split(","))))
    if len(rest) > 2 or rest[1:] not in ([], ["log"]):
        raise ValueError(f"{name}={shown(text)} is not of the form LOW:HIGH or LOW:HIGH:log.")
    return _named(name, lambda: Range(_value(low), _value(rest[0]), len(rest) == 2))


def _value(text: str) -> Any:
    try:
        return json_value(text)
    except ValueError:
        return text


def _named(name: str, make: Any) -> Range | Choices:
    try:
        made: Range | Choices = make()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return made


def checked_space(agent: str, space: Space, fixed: Mapping[str, Any]) -> dict[str, Range | Choices]:
    """The space without what is fixed, each end of it tried on the agent's configuration.

    Agents from outside are asked when the first of them is made.

    Raises:
        ValueError: nothing is left to search; an unknown name; a value that is not allowed.
    """
    varied = {name: values for name, values in space.items() if name not in fixed}
    if not varied:
        raise ValueError(
            f"There is nothing to search for {shown(agent)}: name ranges by --range, such as "
            "--range learning_rate=1e-4:1e-2:log."
        )
    found = find_agent(agent)
    for name, values in varied.items():
        for value in values.ends:
            if name == "batch_size":
                if not isinstance(value, int) or isinstance(value, bool) or value < 2:
                    raise ValueError(f"batch_size={shown(value)} is not an integer at least 2.")
            elif isinstance(found, Algorithm):
                _check(found, {**fixed, name: value})
    return varied


def _check(algorithm: Algorithm, values: Mapping[str, Any]) -> None:
    known = field_rules(algorithm.config)
    for name, value in values.items():
        if name == "batch_size":
            continue
        if name not in known:
            raise unknown_name(f"hyper-parameter of {algorithm.name!r}", name, known)
        known[name].check(name, value)
    build_config(
        algorithm.config, hyperparameters(values), f"hyper-parameter of {algorithm.name!r}"
    )
