from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import recsim_drpo
from recsim_drpo.agents.engine import networks
from recsim_drpo.agents.registry import AgentSpec
from recsim_drpo.cli import main
from recsim_drpo.runs.folder import load_agent, save_run
from recsim_drpo.serving.onnx_export import export_run
from recsim_drpo.serving.recommender import load_recommender
from recsim_drpo.simulator.catalogue import checksum_of

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = """
import torch
from torch import nn
class Own:
    '''A policy of torch's modules.'''
    def __init__(self, *, observation_dim, action_dim, seed, device, kind="good"):
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(observation_dim, 5), nn.Tanh())
        self.head, self.kind = nn.Linear(5, action_dim, bias=False), kind
        if kind == "plain":
            self.policy_network = None
    def update(self, batch):
        return {}
    def act(self, observations):
        actions = self.head(self.net(observations)).sigmoid().detach()
        return actions.numpy() + (0.001 if self.kind == "other" else 0.0)
    def policy_network(self):
        last = nn.Softsign() if self.kind == "unknown" else nn.Sigmoid()
        return nn.Sequential(self.net, self.head, last)
    def state_dict(self):
        return {"net": self.net.state_dict(), "head": self.head.state_dict()}
    def load_state_dict(self, state):
        self.net.load_state_dict(state["net"])
        self.head.load_state_dict(state["head"])
"""

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


def sharpen(agent):
    """Move log σ away from where it starts, and beyond its range where it is computed."""
    state = agent.state_dict()
    for key in ("parameters.log_std", "parameters.policy.bias_2", "parameters.policy.bias_3"):
        if key in state:
            state[key] = torch.linspace(-9, 6, len(state[key])).clamp(
                *networks.LOG_STD_RANGE if key == "parameters.log_std" else (-9, 6)
            )
    agent.load_state_dict(state)


def session(folder):
    return onnxruntime.InferenceSession(folder / "policy.onnx", providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("sigma", networks.SIGMA_MODES)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_network_is_the_policy(service, tmp_path, layers, sigma):
    hyperparameters = {"num_hidden_layers": layers, "sigma": sigma, "hidden_dim": 16}
    run = service.make_run(tmp_path / "run", change=sharpen, **hyperparameters)
    description = export_run(run, tmp_path / "out")
    found = session(tmp_path / "out")
    names = [output.name for output in found.get_outputs()]
    assert names == (["action"] if sigma == "fixed" else ["action", "log_std"])
    assert list(description["policy"]["outputs"]) == names
    agent = load_agent(run)
    state = agent.state_dict()
    for size in (1, 5, 300):
        inputs = torch.randn(size, 4, generator=torch.Generator().manual_seed(size))
        outputs = dict(zip(names, found.run(None, {"observations": inputs.numpy()}), strict=True))
        np.testing.assert_allclose(outputs["action"], agent.act(inputs), rtol=1e-5, atol=1e-5)
        if sigma == "learned":
            expected = state["parameters.log_std"].expand(size, 8)
            np.testing.assert_array_equal(outputs["log_std"], expected)
        if sigma == "state":  # by hand, layer by layer
            hidden = inputs
            for i in range(layers + 1):
                hidden = hidden @ state[f"parameters.policy.weight_{i}"].T
                hidden = hidden + state[f"parameters.policy.bias_{i}"]
                hidden = hidden.relu() if i < layers else hidden
            expected = hidden[:, 8:].clamp(-5.0, 2.0)
            np.testing.assert_allclose(outputs["log_std"], expected, rtol=1e-5, atol=1e-5)
            if layers > 1:
                assert outputs["log_std"].max() == 2.0
    assert 0 <= description["policy"]["largest_difference"] <= 1e-5


def test_a_policy_of_double_precision(tmp_path):
    spec = AgentSpec("bc", 4, 8)
    agent = spec.make(dtype=torch.float64)
    training = {"steps": 1, "batch_size": 2, "seed": 0, "dtype": "float64"}
    save_run(tmp_path / "run", agent, [], training, {"dataset": "try/small-v0"}, spec)
    np.save(tmp_path / "items.npy", np.eye(8, dtype=np.float32))
    export_run(tmp_path / "run", tmp_path / "out", embeddings=tmp_path / "items.npy")
    inputs = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    (action,) = session(tmp_path / "out").run(["action"], {"observations": inputs.numpy()})
    assert action.dtype == np.float32
    np.testing.assert_allclose(action, agent.act(inputs), atol=1e-5)


def test_the_folder_says_what_is_what(service, tmp_path):
    run = service.make_run(tmp_path / "run", "iql")
    description = export_run(run, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "export.json").read_text()) == description
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "export.json",
        "item_ids.npy",
        "items.npy",
        "policy.onnx",
    ]
    recommender = load_recommender(run)
    items = np.load(tmp_path / "out" / "items.npy", allow_pickle=False)
    ids = np.load(tmp_path / "out" / "item_ids.npy", allow_pickle=False)
    np.testing.assert_array_equal(items, recommender.items.embeddings)
    np.testing.assert_array_equal(ids, recommender.items.item_ids)
    assert description["items"]["shape"] == [60, 8]
    assert description["items"]["checksum"] == checksum_of(items)
    assert description["metric"] == "cosine"
    assert description["policy"]["inputs"]["observations"]["shape"] == ["batch", 4]
    assert description["versions"]["recsim_drpo"] == "0.1.0"
    # As its text says, without recsim_drpo, the same items come out.
    contexts = np.random.default_rng(0).uniform(-1, 1, (50, 4)).astype(np.float32)
    (action,) = session(tmp_path / "out").run(["action"], {"observations": contexts})
    scores = action / np.linalg.norm(action, axis=1, keepdims=True) @ items.T
    ours, rows = recommender.top(contexts, 5)
    np.testing.assert_allclose(-np.sort(-scores, axis=1)[:, :5], ours, atol=1e-6)
    order = np.argsort(-scores, axis=1, kind="stable")
    np.testing.assert_array_equal(ids[order[:, :5]], ids[rows])


@pytest.mark.parametrize("distinct", [60, 12, 3])
def test_the_documented_recipe_gives_the_items_of_recommend(
    service, tmp_path, monkeypatch, distinct
):
    """10,000 contexts; with 12 and 3 vectors, each is that of 5 and of 20 items."""
    generator = np.random.default_rng(distinct)
    vectors = generator.normal(size=(distinct, 8))[generator.integers(distinct, size=60)]
    np.save(tmp_path / "items.npy", vectors)
    options = {"embeddings": tmp_path / "items.npy", "normalize": True}
    run = service.make_run(tmp_path / "run", "bc", hidden_dim=16)
    monkeypatch.chdir(tmp_path)
    export_run(run, "exported", **options)
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (recipe,) = [block for block in blocks if "import onnxruntime" in block]
    contexts = generator.uniform(-1, 1, (10_000, 4)).astype(np.float32)
    names = {"np": np, "contexts": contexts}
    exec(compile(recipe, "serving.md", "exec"), names)
    scores, rows = names["top"](contexts, 5)
    ours, our_rows = load_recommender(run, **options).top(contexts, 5)
    np.testing.assert_allclose(scores, ours, atol=2e-6)
    differ = (rows != our_rows.numpy()).any(axis=1)
    # Unlike vectors whose scores are nearer than the rounding of two networks may change places.
    assert differ.sum() <= (3 if distinct == 60 else 0)


def test_items_of_another_file_with_text_ids(service, tmp_path, capsys):
    vectors = np.random.default_rng(1).normal(size=(9, 8)).astype(np.float32)
    ids = np.array([f"film-{i}" for i in range(9)])
    np.savez(tmp_path / "items.npz", embeddings=vectors, item_ids=ids)
    run, out = service.make_run(tmp_path / "run"), tmp_path / "out"
    command = ["export", str(run), "--out", str(out), "--embeddings", str(tmp_path / "items.npz")]
    assert main([*command, "--normalize"]) == 0
    assert "9 items" in capsys.readouterr().out
    np.testing.assert_array_equal(np.load(out / "item_ids.npy", allow_pickle=False), ids)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(np.load(out / "items.npy"), unit, atol=1e-6)


def test_networks_from_outside(service, tmp_path, monkeypatch):
    (tmp_path / "own_agents.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "examples" / "td3_bc")
    inputs = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    for name in ("own_agents:Own", "td3_bc:TD3BC"):
        folder = tmp_path / name.split(":")[1]
        run = service.make_run(folder / "run", name)
        description = export_run(run, folder / "out")
        (actions,) = session(folder / "out").run(None, {"observations": inputs.numpy()})
        np.testing.assert_allclose(actions, load_agent(run).act(inputs), atol=1e-5)
        assert list(description["policy"]["outputs"]) == ["action"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("plain", "cannot be read as a network: it is none of our algorithms"),
        ("unknown", "a Softsign in its policy_network() is none of Sequential, Linear, ReLU"),
        ("other", "action differs from the agent's by 0.001"),
    ],
)
def test_what_is_no_such_network_is_refused(service, tmp_path, monkeypatch, capsys, kind, message):
    (tmp_path / "own_agents.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    run = service.make_run(tmp_path / "run", "own_agents:Own", kind=kind)
    before = sorted(tmp_path.iterdir())
    assert main(["export", str(run), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "__pycache__"] == before


def test_other_mistakes(service, tmp_path, monkeypatch, capsys):
    run = service.make_run(tmp_path / "run")
    (tmp_path / "taken").mkdir()
    assert main(["export", str(run), "--out", str(tmp_path / "taken")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert main(["export", str(tmp_path / "taken"), "--out", str(tmp_path / "more")]) == 2
    assert "There is no run in" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["export", str(run), "--out", str(tmp_path / "more")]) == 2
    assert 'pip install "recsim-drpo[onnx]"' in capsys.readouterr().err
    assert not (tmp_path / "more").exists()


def test_an_interrupt_leaves_nothing(service, tmp_path, monkeypatch):
    run = service.make_run(tmp_path / "run")

    def interrupted(*arguments, **options):
        assert (tmp_path / ".recsim-drpo" / "out.partial" / "policy.onnx").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(onnxruntime, "InferenceSession", interrupted)
    assert main(["export", str(run), "--out", str(tmp_path / "out")]) == 130
    assert list(tmp_path.iterdir()) == [run]


def test_documented_code_runs(minari_root, tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    page, _, loop = page.partition("## From the log to the next log")  # tests/serving/test_loop.py
    assert loop
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    recsim_drpo.generate_dataset(
        "recsim/extreme-v0", scenario="extreme", num_rounds=1_000, card=False, progress=False
    )
    assert "steps=500" in page
    code = "\n".join(blocks).replace("steps=500", "steps=3")
    exec(compile(code, "serving.md", "exec"), {})
    ours, theirs = capsys.readouterr().out.split("scores = items @ (action / ‖action‖)")
    assert theirs.partition("\n")[2] == ours
    assert len((tmp_path / "top.jsonl").read_text().splitlines()) == 3 * 5
