from __future__ import annotations

import csv
import json

import gymnasium as gym
import pytest
import torch
from safetensors.torch import save_file

from recsim_drpo import generate_dataset, load_transitions, make_agent
from recsim_drpo.runs.folder import load_agent, load_config, save_run
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import train


@pytest.fixture
def transitions(minari_root, small_kwargs):
    dataset = generate_dataset(
        "t-v0",
        scenario="medium",
        num_rounds=3_000,
        env_kwargs=small_kwargs,
        card=False,
        progress=False,
    )
    return load_transitions(dataset)


def fresh(name="drpo", seed=0, **hyperparameters):
    return make_agent(name, observation_dim=10, action_dim=16, seed=seed, **hyperparameters)


@pytest.fixture
def run(transitions, tmp_path):
    agent = fresh(min_kappa=0.1)
    config = TrainingConfig(steps=20, log_every=10)
    history = train(agent, transitions, config, progress=False)
    folder = tmp_path / "runs" / "one"
    training = {"steps": 20, "batch_size": 320, "seed": 0}
    save_run(folder, agent, history, training, {"dataset": "t-v0", "env_spec": None})
    return folder, agent, history


def test_a_run_folder_explains_itself_and_restores_the_agent(run):
    folder, agent, history = run
    names = {path.name for path in folder.iterdir()}
    assert {"README.md", "config.json", "checkpoint.safetensors", "history.csv"} <= names
    assert [p for p in folder.parent.iterdir() if p != folder] == []
    readme = (folder / "README.md").read_text()
    assert "`drpo` trained on `t-v0` for 20 steps" in readme
    for name in names - {"README.md"}:
        assert f"`{name}`" in readme
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in history]
    assert load_config(folder)["hyperparameters"]["min_kappa"] == 0.1
    restored = load_agent(folder)
    for key, value in agent.state_dict().items():
        assert torch.equal(value, restored.state_dict()[key]), key
    observations = torch.randn(3, 10)
    assert torch.equal(agent.act(observations), restored.act(observations))


def test_a_run_is_never_overwritten(run):
    folder, agent, history = run
    with pytest.raises(FileExistsError, match="is there already"):
        save_run(folder, agent, history, {"steps": 1, "batch_size": 1, "seed": 0}, {})
    assert load_config(folder)["training"]["steps"] == 20


def test_a_run_that_cannot_be_finished_leaves_nothing(run, tmp_path):
    class Unwritable:
        def __str__(self):
            raise ZeroDivisionError

    _, agent, _ = run
    training = {"steps": 1, "batch_size": 1, "seed": 0}
    with pytest.raises(ZeroDivisionError):
        save_run(tmp_path / "new", agent, [{"step": Unwritable()}], training, {})
    assert not any("new" in path.name for path in tmp_path.iterdir())


def test_missing_truncated_and_foreign_checkpoints(run, tmp_path):
    folder, _, _ = run
    with pytest.raises(FileNotFoundError, match="There is no run in"):
        load_agent(tmp_path / "nowhere")
    checkpoint = folder / "checkpoint.safetensors"
    whole = checkpoint.read_bytes()
    for size in (0, 5, 100, len(whole) - 1):
        checkpoint.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="not a whole safetensors file"):
            load_agent(folder)
    save_file({"x": torch.zeros(2)}, checkpoint, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"was not written by recsim_drpo \(format 'pt'"):
        load_agent(folder)
    checkpoint.unlink()
    with pytest.raises(FileNotFoundError, match=r"has no checkpoint\.safetensors"):
        load_agent(folder)
    checkpoint.write_bytes(whole)
    config = load_config(folder)
    (folder / "config.json").write_text(json.dumps({**config, "action_dim": 8}))
    with pytest.raises(ValueError, match="does not fit this 'drpo' agent"):
        load_agent(folder)
    (folder / "config.json").write_text(json.dumps({**config, "agent": "dripo"}))
    with pytest.raises(ValueError, match="Did you mean 'drpo'"):
        load_agent(folder)
    for text in ("{", "[]", "{}"):
        (folder / "config.json").write_text(text)
        with pytest.raises(ValueError, match="not the configuration of a run"):
            load_agent(folder)


@pytest.mark.parametrize(
    ("source", "command", "other"),
    [
        (
            {"env_spec": gym.spec("RecSimZipf-v0").to_json(), "weights": None},
            "recsim-drpo evaluate THIS_FOLDER",
            "recommend",
        ),
        ({"env_spec": None}, "recommend THIS_FOLDER -k 1 --contexts", "recsim-drpo evaluate"),
        ({"context": {"numbers": ["x"]}}, "recsim-drpo ope THIS_FOLDER", "recsim-drpo evaluate"),
    ],
)
def test_the_readme_tells_the_commands_that_its_source_allows(tmp_path, source, command, other):
    training = {"steps": 0, "batch_size": 1, "seed": 0}
    save_run(tmp_path / "run", fresh(), [], training, {"dataset": "t-v0", **source})
    readme = (tmp_path / "run/README.md").read_text()
    assert command in readme
    assert other not in readme


def test_a_run_of_another_device_is_read_on_this_one(run):
    folder, agent, _ = run
    config = load_config(folder)
    config["device"] = "cuda:7"  # where it was trained, which no machine here has
    (folder / "config.json").write_text(json.dumps(config))
    assert b"cuda" not in (folder / "checkpoint.safetensors").read_bytes()
    loaded = load_agent(folder)
    assert str(loaded.device) == "cpu"
    observations = torch.rand(4, 10)
    assert torch.equal(loaded.act(observations), agent.act(observations))
    with pytest.raises(ValueError, match="device='cuda:7'"):
        load_agent(folder, device="cuda:7")
