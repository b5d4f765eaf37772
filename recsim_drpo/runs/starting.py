"""The parameters of a finished run, for another training to start from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from recsim_drpo.core.messages import shown
from recsim_drpo.runs.checkpoints import load_state
from recsim_drpo.runs.folder import CHECKPOINT, load_config

_PREFIX = "parameters."


def initial_parameters(
    folder: str | Path, agent: str, dims: tuple[int, int], source: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Parameters of all networks of a run by name, and what a new run says of where it started.

    Args:
        folder: of the run.
        agent: name of the agent that is to start from it.
        dims: of observations and of actions that it is made for.
        source: what :func:`recsim_drpo.runs.folder.source_of` says of the log that it learns from.

    Raises:
        FileNotFoundError: there is no run, or no checkpoint in it.
        ValueError: the run is of another agent, of other dimensions, of contexts that are coded
            otherwise, diverged, or its agent does not say which tensors are parameters.
    """
    folder = Path(folder)
    config = load_config(folder)
    _check_same(folder, config, agent, dims, source)
    path = folder / CHECKPOINT
    if not path.is_file():
        raise FileNotFoundError(f"The run {str(folder)!r} has no {CHECKPOINT}; train it again.")
    tensors = {
        name.removeprefix(_PREFIX): tensor
        for name, tensor in load_state(path).items()
        if name.startswith(_PREFIX) and isinstance(tensor, Tensor)
    }
    if not tensors:
        raise ValueError(
            f"--init: the state of {shown(agent)} in {str(folder)!r} does not say which tensors "
            "are parameters; an agent from outside cannot start from another run's."
        )
    about = {
        "run": str(folder),
        "dataset": config["source"].get("dataset"),
        "checkpoint_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    return tensors, about


def _check_same(
    folder: Path,
    config: Mapping[str, Any],
    agent: str,
    dims: tuple[int, int],
    source: Mapping[str, Any],
) -> None:
    there = config["source"]
    own, given = (_coding(one.get("context")) for one in (there, source))
    compared = {
        "agent": (config["agent"], agent),
        "observation_dim": (config["observation_dim"], dims[0]),
        "action_dim": (config["action_dim"], dims[1]),
        "coding of contexts": (own, given) if own and given else (None, None),
    }
    for what, (theirs, ours) in compared.items():
        if theirs != ours:
            theirs, ours = _apart(theirs, ours)
            raise ValueError(
                f"--init: the run {str(folder)!r} has {what}={shown(theirs)}, this training "
                f"{shown(ours)}; parameters mean the same where these do alone."
            )
    if there.get("diverged_at") is not None:
        raise ValueError(
            f"--init: the run {str(folder)!r} diverged at step {there['diverged_at']:,}; start "
            "from another."
        )


def _apart(one: Any, other: Any) -> tuple[Any, Any]:
    """Two values that differ; of dictionaries what differs alone, so that it can be shown."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return one, other
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    parts = {key: _apart(one.get(key), other.get(key)) for key in keys}
    return {key: part[0] for key, part in parts.items()}, {k: part[1] for k, part in parts.items()}


def _coding(context: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The columns of a context in their order, with what codes them."""
    if context is None:
        return None
    return {name: context.get(name) for name in ("numbers", "categories", "hashes", "coding")}
