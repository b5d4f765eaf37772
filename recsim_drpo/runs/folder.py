"""Run folders: a trained agent with everything that explains it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import minari
import numpy as np
import torch

from recsim_drpo.agents.engine.algorithm import Algorithm
from recsim_drpo.agents.engine.learner import Learner
from recsim_drpo.agents.plugins import check_call, import_agent
from recsim_drpo.agents.protocol import Agent, check_agent
from recsim_drpo.agents.registry import AgentSpec, find_agent
from recsim_drpo.core.files import atomic_dir
from recsim_drpo.core.messages import shown
from recsim_drpo.core.provenance import versions
from recsim_drpo.core.schemas import object_of
from recsim_drpo.datasets.imported import imported_context, is_imported, reward_unit
from recsim_drpo.datasets.soundness import metadata_of
from recsim_drpo.envs.spec import WorldSpec
from recsim_drpo.reporting import plots
from recsim_drpo.runs.checkpoints import check_holds, load_state, restoring, save_state
from recsim_drpo.runs.description import RunDescription, datasets_of
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import Row
from recsim_drpo.training.sweep import Trained

CHECKPOINT = "checkpoint.safetensors"
CONFIG = "config.json"
HISTORY = "history.csv"
_CURVES = {
    "ecpm": "eCPM on validation users",
    "return": "return on validation users",
    "held_out_value": "mean reward, by held-out rounds",
    "loss": "loss",
}

_README = """# {title}

`{agent}` trained on {dataset} for {steps:,} steps of {batch_size} transitions, seed {seed}.
{remarks}

| file | what it holds |
| --- | --- |
| `{checkpoint}` | parameters, optimiser and state: everything needed to act or to go on |
| `{config}` | agent, hyper-parameters, training, dataset, environment, versions |
| `{history}` | metrics by step; `ecpm`, `return`: validation users; `held_out_*`: held-out rounds |
| `learning_curve.png` | the same, drawn (where matplotlib is installed) |

{commands}

```python
from recsim_drpo.runs import load_agent

agent = load_agent("THIS_FOLDER")
actions = agent.act(observations)  # float32 (B, {observation_dim}) -> (B, {action_dim})
```
"""


def source_of(*datasets: minari.MinariDataset) -> dict[str, Any]:
    """The description of a log that is kept in the runs that were trained on it.

    Args:
        *datasets: one, or several of one world. Of several all are named, and what is not the same
            in all of them, such as the mixture, is ``None``.
    """
    each = [_source_of_one(dataset) for dataset in datasets]
    if len(each) == 1:
        return each[0]
    common = {
        name: value if all(other.get(name) == value for other in each) else None
        for name, value in each[0].items()
    }
    names = {"dataset": datasets[0].id, "datasets": [dataset.id for dataset in datasets]}
    return common | names | {"env_spec": each[0]["env_spec"]}


def _source_of_one(dataset: minari.MinariDataset) -> dict[str, Any]:
    metadata = metadata_of(dataset)
    spec = dataset.spec.env_spec
    source = {
        "dataset": dataset.id,
        "env_spec": None if spec is None else spec.to_json(),
        "catalogue_checksum": metadata.get("catalogue_checksum"),
        "scenario": metadata.get("scenario"),
        "weights": metadata.get("weights"),
        "logging_config": metadata.get("logging_config"),
    }
    if not is_imported(dataset):
        return source
    unit = reward_unit(dataset)
    return source | {
        "context": imported_context(dataset),
        "num_rounds": int(dataset.total_steps),
        "reward_range": [unit.low, unit.high],
    }


def save_run(
    folder: str | Path,
    agent: Agent,
    history: Sequence[Row],
    training: Mapping[str, Any],
    source: Mapping[str, Any],
    spec: AgentSpec | None = None,
) -> None:
    """Write a run folder; it appears whole or not at all.

    Args:
        folder: must not be there yet.
        agent: the trained agent.
        history: what :func:`recsim_drpo.training.loop.train` returned.
        training: fields of its configuration.
        source: what :func:`source_of` says of the log, and whatever else describes the run.
        spec: how the agent was made. ``None`` asks the agent: one of :func:`make_agent`'s learners
            knows, as does one with an attribute ``spec``; another needs the attributes
            ``observation_dim``, ``action_dim``, ``seed`` and ``hyperparameters``, and a class that
            can be imported. Of a learner all hyper-parameters are kept, not only those that the
            spec has.

    Raises:
        FileExistsError: the folder is there already.
        OSError: it cannot be written.
        TypeError: the agent lacks a method of an agent.
        ValueError: the agent cannot be made again from what is known of it, or its state has
            something that cannot be kept (see :mod:`recsim_drpo.runs.checkpoints`).
    """
    folder = Path(folder)
    check_agent(agent)
    spec = _completed(agent, spec)
    device = getattr(agent, "device", None)
    with atomic_dir(folder) as partial:
        config = {
            "agent": spec.name,
            "observation_dim": spec.observation_dim,
            "action_dim": spec.action_dim,
            "seed": spec.seed,
            "hyperparameters": dict(spec.hyperparameters),
            "training": dict(training),
            "source": dict(source),
            "device": None if device is None else str(device),
            "versions": versions(),
        }
        save_state(partial / CHECKPOINT, agent.state_dict(), spec.name)
        (partial / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        _write_history(partial / HISTORY, history)
        readme = _README.format(
            title=folder.name,
            agent=spec.name,
            dataset=", ".join(f"`{name}`" for name in datasets_of(source) or "?"),
            steps=training["steps"],
            remarks=_remarks(source),
            commands=_commands(source),
            batch_size=training["batch_size"],
            seed=training["seed"],
            checkpoint=CHECKPOINT,
            config=CONFIG,
            history=HISTORY,
            observation_dim=spec.observation_dim,
            action_dim=spec.action_dim,
        )
        (partial / "README.md").write_text(readme, encoding="utf-8")
        _draw_curve(partial / "learning_curve.png", spec.name, history)


def _completed(agent: Agent, spec: AgentSpec | None) -> AgentSpec:
    """The spec by which an agent can be made again, from the agent itself where none is given."""
    if isinstance(agent, Learner):
        name = agent.name if spec is None else spec.name
        # A factory from outside may return a learner too, but has hyper-parameters of its own.
        if isinstance(find_agent(name), Algorithm):
            dims = agent.observation_dim, agent.action_dim
            return AgentSpec(name, *dims, int(agent.state_dict()["seed"]), agent.hyperparameters)
    if spec is None:
        own = getattr(agent, "spec", None)
        spec = own if isinstance(own, AgentSpec) else _self_described(agent)
    for name, value in spec.hyperparameters.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"The hyper-parameter {name}={shown(value)} cannot be kept: {error}."
            ) from error
    return spec


def _self_described(agent: Agent) -> AgentSpec:
    cls = type(agent)
    name = f"{cls.__module__}:{cls.__qualname__}"
    mend = "pass save_run a spec that says how the agent was made."
    try:
        importable = cls.__module__ != "__main__" and import_agent(name) is cls
    except (ImportError, TypeError, ValueError):
        importable = False
    if not importable:
        raise ValueError(f"{name} cannot be imported by that name from elsewhere; {mend}")
    fields = ("observation_dim", "action_dim", "seed", "hyperparameters")
    missing = [field for field in fields if not hasattr(agent, field)]
    if missing:
        raise ValueError(f"{name} has no attribute {', '.join(map(repr, missing))}; {mend}")
    spec = AgentSpec(name, **{field: getattr(agent, field) for field in fields})
    check_call(name, cls, spec.hyperparameters)
    return spec


def save_trained(
    folder: str | Path, trained: Trained, config: TrainingConfig, source: Mapping[str, Any]
) -> None:
    """Write the folder of a run of :func:`recsim_drpo.training.sweep.train_many`.

    Args:
        folder: must not be there yet.
        trained: the run with its agent, history and options.
        config: how it was trained.
        source: what :func:`source_of` says of its log.

    Raises:
        FileExistsError, OSError, ValueError: as :func:`save_run`.
    """
    run, agent = trained.run, trained.agent
    overrides = dict(run.overrides)
    size = overrides.pop("batch_size", config.batch_size)
    how = {name: str(value).removeprefix("torch.") for name, value in trained.options.items()}
    training = {**asdict(config), "batch_size": size, "seed": run.seed, **how}
    about = dict(source)
    if trained.diverged_at is not None:
        about["diverged_at"] = trained.diverged_at
    spec = AgentSpec(run.agent, *trained.dims, run.seed, overrides)
    save_run(folder, agent, trained.history, training, about, spec)


def _remarks(source: Mapping[str, Any]) -> str:
    step, remarks = source.get("diverged_at"), ""
    if source.get("online"):
        remarks += "\nIt learnt online: the steps are those of the log's environment, not updates."
    if init := source.get("init"):
        remarks += f"\nIt started from the parameters of `{init['run']}`, of `{init['dataset']}`."
    if step is not None:
        remarks += f"\nIt diverged at step {step:,} and is as it was before."
    return remarks


def _commands(source: Mapping[str, Any]) -> str:
    """The commands that work for a run on such a log, as Markdown."""
    if source.get("context"):
        lines = [
            "recsim-drpo ope THIS_FOLDER --dataset LATER_LOG",
            "recsim-drpo recommend THIS_FOLDER -k 1 --contexts USERS.csv --out TOP.csv",
            "recsim-drpo export THIS_FOLDER --out EXPORTED",
        ]
        if share := source.get("held_out"):
            its_own = f"--dataset {source.get('dataset')} --held-out {share:g}"
            lines.insert(0, f"recsim-drpo ope THIS_FOLDER {its_own}")
        before = (
            "There is no simulator behind its log: what it is worth the rounds held out tell, and "
            "a later log, imported with the `columns.json` of its dataset.\n\n"
        )
    elif WorldSpec.of(source.get("env_spec")) is not None:
        before, lines = "", ["recsim-drpo evaluate THIS_FOLDER"]
    else:
        before = "Of its log no environment of this package is known to measure it in.\n\n"
        recommend = "recsim-drpo recommend THIS_FOLDER -k 1 --contexts USERS.csv --out TOP.csv"
        lines = [f"{recommend} --embeddings ITEMS.npy"]
    return f"{before}```\n" + "\n".join(lines) + "\n```"


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
        return object_of(path, RunDescription)
    except ValueError as error:
        raise ValueError(
            f"{str(path)!r} is not the configuration of a run ({error}); train the run again."
        ) from error


def load_agent(folder: str | Path, *, device: str | torch.device = "cpu") -> Agent:
    """The trained agent of a run folder, made again by its name, its state restored.

    An agent named ``module:Class`` is imported from there: load such runs only of those whom you
    trust with that.

    Raises:
        FileNotFoundError: the folder, its configuration or its checkpoint is missing.
        ValueError: the checkpoint is truncated, of another program, or of another agent than the
            configuration says; no agent has that name any more.
        ImportError: the agent came from outside and cannot be imported; the cause is attached.
        TypeError: the agent came from outside and cannot be made as the configuration says.
    """
    config = load_config(folder)
    path = Path(folder) / CHECKPOINT
    if not path.is_file():
        raise FileNotFoundError(f"The run {str(folder)!r} has no {CHECKPOINT}; train it again.")
    state = load_state(path)
    spec = AgentSpec(
        config["agent"],
        config["observation_dim"],
        config["action_dim"],
        config["seed"],
        config["hyperparameters"],
    )
    check_holds(path, spec, state)
    dtype = config.get("training", {}).get("dtype")
    agent = spec.make(device, **({"dtype": getattr(torch, dtype)} if dtype else {}))
    with restoring(path):
        agent.load_state_dict(state)
    return agent


def _write_history(path: Path, history: Sequence[Row]) -> None:
    names = list(dict.fromkeys(name for row in history for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(history)


def _draw_curve(path: Path, name: str, history: Sequence[Row]) -> None:
    known = {name for row in history for name in row}
    key = next((name for name in _CURVES if name in known), None)
    if key is None:  # an agent from outside need not have a metric of that name
        return
    rows, label = [row for row in history if key in row], _CURVES[key]
    steps = np.array([row["step"] for row in rows])
    values = np.array([[row[key] for row in rows]])
    try:
        plots.learning_curves(path, {name: (steps, values)}, {}, label)
    except plots.PlotsMissingError:
        return
