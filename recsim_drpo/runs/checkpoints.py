"""Keep an agent's nested state in one safetensors file, exactly and without code.

A state is a dictionary. In it may nest dictionaries with keys of text or integers, lists, tuples,
tensors, text, integers, floats, booleans and ``None``: what ``state_dict()`` of a torch module or
optimiser is made of. The tensors are the file's; how they nest, and everything else, is JSON in its
metadata. What comes back equals what was kept, to the bit, on the CPU and without gradients; other
mappings come back as dictionaries.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from recsim_drpo.agents.engine.algorithm import Algorithm
from recsim_drpo.agents.registry import AgentSpec, find_agent
from recsim_drpo.core.config import build_config
from recsim_drpo.core.messages import one_line, shown

_FORMAT = "recsim_drpo.agent/2"
_PLAIN = (bool, int, float, str, type(None))
_DTYPES = {
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
}


def save_state(path: Path, state: Mapping[str, Any], agent: str) -> None:
    """Write a state to a safetensors file.

    Args:
        path: of the file.
        state: what an agent's ``state_dict`` returned.
        agent: its name, for those who read the file by other means.

    Raises:
        ValueError: the state has something that cannot be kept; names its place.
        OSError: the file cannot be written.
    """
    tensors, description = flatten(state)
    # safetensors refuses tensors that share memory; a state may well have views.
    own = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    metadata = {"format": _FORMAT, "agent": agent, "state": json.dumps(description)}
    path.touch()
    mode = path.stat().st_mode  # as that of any file here; safetensors' is its owner's alone
    try:
        save_file(own, path, metadata=metadata)
    except SafetensorError as error:  # which is no OSError, even of a full disk
        number = re.search(r"os error (\d+)", str(error))
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, os.strerror(code)) from error
    path.chmod(mode)


def load_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote; tensors are on the CPU.

    Raises:
        ValueError: the file is truncated, or of another program.
        OSError: it is not there, or may not be read.
    """
    path.open("rb").close()  # safetensors says of a file that may not be read that there is none
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors', the system's, and torch's for a type that it lacks
        raise ValueError(
            f"{str(path)!r} is not a whole safetensors file ({one_line(error)}); train the run "
            "again."
        ) from error
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{str(path)!r} was not written by recsim_drpo (format "
            f"{shown(metadata.get('format'))}, expected {_FORMAT!r})."
        )
    try:
        state = _nested(json.loads(metadata["state"]), tensors)
        if not isinstance(state, dict):
            raise TypeError(f"the state is a {type(state).__name__}")
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{str(path)!r} does not describe its tensors ({type(error).__name__}: "
            f"{one_line(error)}); train the run again."
        ) from error
    return state


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Turn what restoring a state raises where it is another's into one ``ValueError``.

    A ``ValueError`` passes unchanged: it says what does not fit.
    """
    try:
        yield
    except ValueError:
        raise
    except Exception as error:  # an agent from outside may raise anything
        raise ValueError(
            f"{str(path)!r} is not the state of this agent ({type(error).__name__}: "
            f"{one_line(error)}); train the run again."
        ) from error


def check_holds(path: Path, spec: AgentSpec, state: Mapping[str, Any]) -> None:
    """Check that a state has the parameters of the agent that is to be made, before it is made.

    Args:
        path: of the checkpoint, for the message.
        spec: how the agent is made; those from outside are not checked.
        state: what the checkpoint holds.

    Raises:
        ValueError: the agent would have more parameters, as where a dimension was changed; or it
            cannot be made.
    """
    algorithm = find_agent(spec.name)
    if not isinstance(algorithm, Algorithm):
        return
    what = f"hyper-parameter of {spec.name!r}"
    config = build_config(algorithm.config, spec.hyperparameters, what)
    width, depth = config.hidden_dim, config.num_hidden_layers
    needed = width * (spec.observation_dim + spec.action_dim + (depth - 1) * width)
    held = sum(value.numel() for value in state.values() if isinstance(value, Tensor))
    if needed > held:
        raise ValueError(
            f"{str(path)!r} holds {held:,} numbers, and a {spec.name!r} agent from "
            f"{spec.observation_dim:,} to {spec.action_dim:,} dimensions with {depth:,} layers of "
            f"{width:,} has {needed:,} or more: the run is damaged; train it again."
        )


def flatten(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], Any]:
    """The tensors of a state by name, and a description of it that JSON can hold.

    In the description a plain value stands for itself, ``{"tensor": name}`` for a tensor,
    ``{"list": [...]}`` and ``{"tuple": [...]}`` for those and ``{"dict": [[key, value], ...]}`` for
    a mapping, so that nothing can be taken for something else. A flat dictionary of tensors keeps
    its names.

    Raises:
        ValueError: the state is no dictionary, or has something that cannot be kept; names its
            place.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"The state is a {type(state).__name__}; a dictionary is needed.")
    tensors: dict[str, Tensor] = {}
    return tensors, _described(state, (), tensors)


def _described(value: Any, path: tuple[str, ...], tensors: dict[str, Tensor]) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Tensor) and value.layout == torch.strided and value.dtype in _DTYPES:
        name = ".".join(path)
        while name in tensors or name == "__metadata__":  # {"a.b": …, "a": {"b": …}}
            name += "'"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        items = []
        for key, element in value.items():
            if type(key) not in (str, int):
                raise ValueError(
                    f"The key {shown(key)}{_within(path)} of the state cannot be kept: it is of "
                    f"type {type(key).__name__}, not text or an integer."
                )
            items.append([key, _described(element, (*path, str(key)), tensors)])
        return {"dict": items}
    if type(value) in (list, tuple):
        items = [_described(element, (*path, str(i)), tensors) for i, element in enumerate(value)]
        return {type(value).__name__: items}
    what = type(value).__name__
    if isinstance(value, Tensor):
        what = f"{what} of {value.dtype}, {value.layout}"
    raise ValueError(
        f"The value of {'.'.join(path)!r} in the state cannot be kept: it is a {what}. Dense "
        "tensors of ordinary types, plain numbers, text, None, and lists, tuples and dictionaries "
        "of them can be."
    )


def _within(path: tuple[str, ...]) -> str:
    return f" in {'.'.join(path)!r}" if path else ""


def _nested(description: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(description, dict):
        return description
    ((kind, content),) = description.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _nested(element, tensors) for key, element in content}
    items = [_nested(element, tensors) for element in content]
    return {"list": list, "tuple": tuple}[kind](items)
