"""Vowpal Wabbit's logs of contextual bandits: ``--cb`` and ``--cb_adf`` text, and ``dsjson``.

The formats are those of the project's wiki, "Contextual Bandit algorithms" and "Input format", and
of its ``dsjson`` parser. A reward is a cost with its sign changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from recsim_drpo.core.json_text import json_value
from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.importing.presets.base import (
    Example,
    Preset,
    numbered_lines,
    of_examples,
    one_file,
)

_LOOK = 1_000


def vowpal_wabbit(logs: Sequence[str | Path], columns: Columns | None = None) -> Preset:
    """A log as text: an example a line (``--cb``), or an action a line (``--cb_adf``).

    The latter has examples that begin with a ``shared`` line. With ``columns``, contexts have the
    features of these and no others.

    Raises:
        FileNotFoundError, ValueError: about the file, with the line.
    """
    path = one_file(logs, "vw")
    few = [line for _, line in zip(range(_LOOK), numbered_lines(path), strict=False)]
    by_action = any(line.startswith("shared") for _, line in few)
    read = _examples_by_action if by_action else _examples_by_line
    return of_examples(path.name, lambda: read(path), [_NOTE], columns)


def dsjson(logs: Sequence[str | Path], columns: Columns | None = None) -> Preset:
    """A log as ``dsjson``: a decision as a JSON object a line.

    With ``columns``, contexts have the features of these and no others.

    Raises:
        FileNotFoundError, ValueError: about the file, with the line.
    """
    path = one_file(logs, "dsjson")
    return of_examples(path.name, lambda: _decisions(path), [_NOTE], columns)


_NOTE = (
    "Rewards are costs with the sign changed. Examples without a label are left out. An item is a "
    "set of features; a policy chooses among all items, not among those of an example."
)


def _label(path: Path, number: int, words: str) -> tuple[str, float, float] | None:
    """Action, cost and probability before the first bar, where a label is there."""
    labels = [word.split(":") for word in words.split() if word.count(":") == 2]
    if not labels:
        return None
    try:
        ((action, cost, probability),) = labels
        return action, float(cost), float(probability)
    except ValueError as error:
        raise ValueError(
            f"{path.name!r}, line {number}: {shown(words.strip())} is no label "
            "action:cost:probability."
        ) from error


def _features(path: Path, number: int, spaces: Sequence[str]) -> dict[str, float]:
    """Features of namespaces, ``namespace^feature``, as Vowpal Wabbit's audits name them."""
    features: dict[str, float] = {}
    try:
        for space in spaces:
            name, weight = "", 1.0
            words = space.split()
            if words and not space[0].isspace():
                name, _, text = words.pop(0).partition(":")
                weight = float(text or 1.0)
            for word in words:
                feature, _, text = word.partition(":")
                key = f"{name}^{feature}" if name else feature
                features[key] = features.get(key, 0.0) + weight * float(text or 1.0)
    except ValueError as error:
        raise ValueError(f"{path.name!r}, line {number}: {one_line(error)}.") from error
    return features


def _examples_by_line(path: Path) -> Iterator[Example]:
    for number, line in numbered_lines(path):
        label, *spaces = line.split("|")
        found = _label(path, number, label) if line else None
        if found is not None:
            action, cost, probability = found
            if action == "0":
                raise ValueError(
                    f"{path.name!r}, line {number}: action 0 is of a log with an action a line, "
                    "whose examples need a shared line, which is their context."
                )
            context = _features(path, number, spaces)
            yield Example(context, action, {f"action={action}": 1.0}, -cost, probability)


def _examples_by_action(path: Path) -> Iterator[Example]:
    group: list[tuple[int, str]] = []
    for number, line in numbered_lines(path):
        if group and (not line or line.startswith("shared")):
            yield from _of_group(path, group)
            group = []
        if line:
            group.append((number, line))
    yield from _of_group(path, group)


def _of_group(path: Path, group: Sequence[tuple[int, str]]) -> Iterator[Example]:
    """The example of a group of lines, unless none of its actions has a label."""
    context: dict[str, float] = {}
    for number, line in group:
        label, *spaces = line.split("|")
        features = _features(path, number, spaces)
        if label.split()[:1] == ["shared"]:
            context = features
        elif (found := _label(path, number, label)) is not None:
            _, cost, probability = found
            yield Example(context, _text(features), features, -cost, probability)
            return


def _text(features: Mapping[str, float]) -> str:
    return " ".join(
        name if value == 1.0 else f"{name}:{value:g}" for name, value in sorted(features.items())
    )


def _decisions(path: Path) -> Iterator[Example]:
    for number, line in numbered_lines(path):
        if not line:
            continue
        try:
            decision = json_value(line)
            example = _decision(decision)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            what = f"no dsjson decision ({type(error).__name__}: {one_line(error)})"
            raise ValueError(f"{path.name!r}, line {number}: {what}.") from error
        if example is not None:
            yield example


def _decision(decision: Mapping[str, Any]) -> Example | None:
    if "_outcomes" in decision:
        raise ValueError("it chose a slate; one action a decision can be imported")
    if "c" not in decision or "_label_cost" not in decision:
        return None  # an observation that came later, or a decision of which nothing came
    index = decision.get("_labelIndex")
    chosen = int(decision["_label_Action"]) - 1 if index is None else int(index)
    context = decision["c"]
    actions = context["_multi"]
    if not 0 <= chosen < len(actions):
        raise IndexError(f"action {chosen} of {len(actions)}")
    item = dict(_flat("", actions[chosen]))
    shared = dict(_flat("", {key: value for key, value in context.items() if key != "_multi"}))
    cost, probability = float(decision["_label_cost"]), float(decision["_label_probability"])
    return Example(shared, _text(item), item, -cost, probability)


def _flat(space: str, value: Any) -> Iterator[tuple[str, float]]:
    """Features of JSON: numbers as they are, text as ``name=text``, lists by position."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not key.startswith("_"):  # Vowpal Wabbit's own: _tag, _text, …
                yield from _flat(f"{space}^{key}" if space else key, inner)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _flat(space if isinstance(inner, str) else f"{space}[{place}]", inner)
    elif isinstance(value, str):
        yield f"{space}={value}", 1.0
    elif value is not None:
        yield space, float(value)
