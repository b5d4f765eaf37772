"""Run folders: a trained agent with everything that explains it."""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from recsim_drpo import plots
from recsim_drpo.agents.learner import Learner
from recsim_drpo.agents.registry import make_agent
from recsim_drpo.training import Row

CHECKPOINT = "checkpoint.safetensors"
CONFIG = "config.json"
HISTORY = "history.csv"
_FORMAT = "recsim_drpo.agent/1"

_README = """# {title}

`{agent}` trained on `{dataset}` for {steps:,} steps of {batch_size} transitions, seed {seed}.

| file | what it holds |
| --- | --- |
| `{checkpoint}` | parameters, optimiser and state: everything needed to act or to go on |
| `{config}` | agent, hyper-parameters, training, dataset, environment, versions |
| `{history}` | a row of metrics for every logged step; `ecpm` is on validation users |
| `learning_curve.png` | the same, drawn (where matplotlib is installed) |

```
recsim-drpo evaluate THIS_FOLDER
```

```python
from recsim_drpo.runs import load_agent

agent = load_agent("THIS_FOLDER")
actions = agent.act(observations)  # float32 (B, {observation_dim}) -> (B, {action_dim})
```
"""


def versions() -> dict[str, str]:
    """Versions of what results depend on."""
    return {
        "recsim_drpo": version("recsim-drpo"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
        "minari": minari.__version__,
    }


def source_of(dataset: minari.MinariDataset) -> dict[str, Any]:
    """What a run remembers of the log that it was trained on."""
    metadata = dataset.storage.metadata
    spec = dataset.spec.env_spec
    return {
        "dataset": dataset.id,
        "env_spec": None if spec is None else spec.to_json(),
        "catalogue_checksum": metadata.get("catalogue_checksum"),
        "scenario": metadata.get("scenario"),
        "weights": metadata.get("weights"),
        "logging_config": metadata.get("logging_config"),
    }


def check_new_folder(folder: Path) -> None:
    """Check that ``folder`` is not there and can be made, before work goes into what it is for.

    Raises:
        FileExistsError: it is there.
        OSError: it cannot be made.
    """
    if folder.exists():
        raise FileExistsError(f"{str(folder)!r} is there already; choose another folder.")
    nearest = next(parent for parent in folder.absolute().parents if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise PermissionError(f"{str(folder)!r} cannot be made: {str(nearest)!r} is not writable.")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill that takes the name ``folder`` when the block ends well, else is gone."""
    check_new_folder(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def save_run(
    folder: str | Path,
    agent: Learner,
    history: Sequence[Row],
    training: Mapping[str, Any],
    source: Mapping[str, Any],
) -> None:
    """Write a run folder; it appears whole or not at all.

    Args:
        folder: must not be there yet.
        agent: the trained agent.
        history: what :func:`recsim_drpo.training.train` returned.
        training: fields of its configuration.
        source: what :func:`source_of` says of the log, and whatever else describes the run.

    Raises:
        FileExistsError: the folder is there already.
        OSError: it cannot be written.
    """
    folder = Path(folder)
    with whole_folder(folder) as partial:
        config = {
            "agent": agent.name,
            "observation_dim": agent.observation_dim,
            "action_dim": agent.action_dim,
            "hyperparameters": agent.hyperparameters,
            "training": dict(training),
            "source": dict(source),
            "device": str(agent.device),
            "versions": versions(),
        }
        tensors = {name: value.cpu().contiguous() for name, value in agent.state_dict().items()}
        save_file(tensors, partial / CHECKPOINT, metadata={"format": _FORMAT, "agent": agent.name})
        (partial / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        _write_history(partial / HISTORY, history)
        readme = _README.format(
            title=folder.name,
            agent=agent.name,
            dataset=source.get("dataset", "?"),
            steps=training["steps"],
            batch_size=training["batch_size"],
            seed=training["seed"],
            checkpoint=CHECKPOINT,
            config=CONFIG,
            history=HISTORY,
            observation_dim=agent.observation_dim,
            action_dim=agent.action_dim,
        )
        (partial / "README.md").write_text(readme, encoding="utf-8")
        _draw_curve(partial / "learning_curve.png", agent.name, history)


def load_config(folder: str | Path) -> dict[str, Any]:
    """The configuration of a run.

    Raises:
        FileNotFoundError: there is no run in that folder.
        ValueError: its configuration is damaged.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no run in {str(folder)!r} ({CONFIG} is missing); "
            "make one by recsim-drpo train."
        )
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for key in ("agent", "observation_dim", "action_dim", "hyperparameters", "source"):
            config[key]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(path)!r} is not the configuration of a run ({error!r}).") from error
    return config


def load_agent(folder: str | Path, *, device: str | torch.device = "cpu") -> Learner:
    """The trained agent of a run folder.

    Raises:
        FileNotFoundError: the folder, its configuration or its checkpoint is missing.
        ValueError: the checkpoint is truncated, of another program, or of another agent than the
            configuration says.
    """
    config = load_config(folder)
    path = Path(folder) / CHECKPOINT
    if not path.is_file():
        raise FileNotFoundError(f"The run {str(folder)!r} has no {CHECKPOINT}; train it again.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{str(path)!r} is not a whole safetensors file ({error}); train the run again."
        ) from error
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{str(path)!r} was not written by recsim_drpo (format {metadata.get('format')!r}, "
            f"expected {_FORMAT!r})."
        )
    agent = make_agent(
        config["agent"],
        observation_dim=config["observation_dim"],
        action_dim=config["action_dim"],
        device=device,
        **config["hyperparameters"],
    )
    agent.load_state_dict(tensors)
    return agent


def _write_history(path: Path, history: Sequence[Row]) -> None:
    names = list(dict.fromkeys(name for row in history for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(history)


def _draw_curve(path: Path, name: str, history: Sequence[Row]) -> None:
    key = "ecpm" if any("ecpm" in row for row in history) else "loss"
    rows = [row for row in history if key in row]
    label = "eCPM on validation users" if key == "ecpm" else "loss"
    steps = np.array([row["step"] for row in rows])
    values = np.array([[row[key] for row in rows]])
    try:
        plots.learning_curves(path, {name: (steps, values)}, {}, label)
    except plots.PlotsMissingError:
        return
