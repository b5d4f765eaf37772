from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import recsim_drpo
from recsim_drpo import (
    Batch,
    generate_dataset,
    load_transitions,
    make_agent,
)
from recsim_drpo.agents import AgentSpec
from recsim_drpo.agents.builtin import BUILT_IN
from recsim_drpo.cli import main
from recsim_drpo.runs.folder import load_agent, load_config, save_run
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import train
from tests.agents.conftest import (
    DIMS,
    TRAINING,
    assert_same,
    install,
)

pytestmark = pytest.mark.usefixtures("clean_registry")
ROOT = Path(__file__).resolve().parents[2]


WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]


def make_batch(size=6, seed=0, terminations=True):
    generator = torch.Generator().manual_seed(seed)
    observations, next_observations = torch.randn(2, size, 3, generator=generator)
    actions = 2.0 * torch.rand(size, 2, generator=generator) - 1.0
    rewards = torch.rand(size, generator=generator)
    ends = torch.full((size,), terminations)
    return Batch(observations, actions, rewards, next_observations, ends)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The example, built and installed into a folder of its own, without a network."""
    folder = tmp_path_factory.mktemp("example")
    # A copy, so that the build's own folders do not land in the checkout.
    shutil.copytree(ROOT / "examples" / "td3_bc", folder / "source")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    words = [sys.executable, "-m", "pip", "install", *options, "--target", folder / "site"]
    done = subprocess.run([*words, folder / "source"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.fixture
def td3_bc(example, monkeypatch):
    monkeypatch.syspath_prepend(str(example))
    import td3_bc

    yield td3_bc
    del sys.modules["td3_bc"]


def test_the_example_installed_is_listed(example, tmp_path):
    install(tmp_path, "sibling", sick="sick_module:Agent")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(example), str(tmp_path)])}
    command = [sys.executable, "-m", "recsim_drpo.cli", "agents"]
    listed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    lines = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert set(lines) == {*BUILT_IN, "td3-bc", "sick", "d3rlpy:NAME", "sb3:NAME"}
    assert "from a package: td3_bc:" in lines["td3-bc"]  # which listing does not import
    assert "sick_module:Agent of sibling" in lines["sick"]
    assert not listed.stderr


@pytest.mark.usefixtures("td3_bc", "minari_root")
def test_the_example_installed_is_trained_and_evaluated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(words, *more):
        assert main([*words.split(), *more]) == 0

    run("generate example/small-v0 --scenario medium --rounds 1000 --no-card", *WORLD)
    quick = "--dataset example/small-v0 --steps 20 --batch-size 64"
    settings = "--set alpha=1.5 hidden_dim=32"
    run(f"train {quick} --agent td3-bc {settings} --out runs/td3-bc")
    config = load_config(tmp_path / "runs" / "td3-bc" / "seed-0")
    assert config["agent"] == "td3-bc"
    assert config["hyperparameters"] == {"alpha": 1.5, "hidden_dim": 32}
    run(f"train {quick} --agent bc --out runs/bc")
    run("evaluate runs --num-users 200 --out evaluation")
    results = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    names = ["random", "popularity", "logger", "runs/bc/seed-0", "runs/td3-bc/seed-0", "oracle"]
    assert list(results) == names


def forward(network, inputs):
    """A network of the example in numpy, float64."""
    layers = [(layer.weight, layer.bias) for layer in network if hasattr(layer, "weight")]
    for number, (weight, bias) in enumerate(layers):
        inputs = inputs @ weight.detach().double().numpy().T + bias.detach().double().numpy()
        inputs = np.maximum(inputs, 0.0) if number < len(layers) - 1 else inputs
    return inputs


@pytest.mark.parametrize("ends", ["all", "some"])
def test_td3_bc_losses_by_hand(td3_bc, ends):
    agent = make_agent(
        "td3-bc", **DIMS, seed=3, hidden_dim=8, discount=0.9, policy_noise=0.5, noise_clip=0.3
    )
    for step in range(4):  # so that targets differ from networks
        agent.update(make_batch(seed=step, terminations=False))
    batch = make_batch(seed=9)
    if ends == "some":
        batch = batch._replace(terminations=torch.tensor([True, False] * 3))
        assert not torch.equal(
            agent.networks["q1"][0].weight.detach(), agent.targets["q1"][0].weight
        )
    noise = torch.randn(6, 2, generator=torch.Generator().manual_seed(5))
    s, a, r, next_observations, done, _ = (
        part.double().numpy() if isinstance(part, torch.Tensor) else part for part in batch
    )
    smoothing = np.clip(0.5 * noise.double().numpy(), -0.3, 0.3)
    assert (np.abs(smoothing) == 0.3).any()
    target = np.clip(
        np.tanh(forward(agent.targets["policy"], next_observations)) + smoothing, -1, 1
    )
    pair = np.concatenate([next_observations, target], axis=1)
    value = np.minimum(*(forward(agent.targets[q], pair)[:, 0] for q in ("q1", "q2")))
    td_targets = r + 0.9 * (1 - done) * value
    pair = np.concatenate([s, a], axis=1)
    expected = sum(
        ((td_targets - forward(agent.networks[q], pair)[:, 0]) ** 2).mean() for q in ("q1", "q2")
    )
    assert float(agent.critic_loss(batch, noise).detach()) == pytest.approx(expected, rel=1e-5)
    if ends == "all":
        far = batch._replace(next_observations=torch.full((6, 3), math.nan))
        assert float(agent.critic_loss(far, noise).detach()) == pytest.approx(expected, rel=1e-5)

    own = np.tanh(forward(agent.networks["policy"], s))
    q = forward(agent.networks["q1"], np.concatenate([s, own], axis=1))[:, 0]
    expected = -2.5 / np.abs(q).mean() * q.mean() + ((own - a) ** 2).mean()
    assert float(agent.policy_loss(batch).detach()) == pytest.approx(expected, rel=1e-5)


def test_td3_bc_delays_the_policy_and_moves_targets_slowly(td3_bc):
    agent = make_agent("td3-bc", **DIMS, hidden_dim=8, tau=0.25)
    for step in range(1, 7):
        before = agent.state_dict()
        metrics = agent.update(make_batch(seed=step))
        after = agent.state_dict()
        assert ("policy_loss" in metrics) == (step % 2 == 0)
        for key, value in before["targets"].items():
            own = after["networks"][key]
            moved = 0.75 * value + 0.25 * own if step % 2 == 0 else value
            torch.testing.assert_close(after["targets"][key], moved)
            if key.startswith("policy"):
                assert torch.equal(own, before["networks"][key]) == (step % 2 == 1)
            else:
                assert not torch.equal(own, before["networks"][key])


def test_td3_bc_resumes_to_the_bit_through_a_run_folder(td3_bc, tmp_path):
    spec = AgentSpec("td3-bc", 3, 2, 6, {"hidden_dim": 8, "policy_delay": 3})
    agent = spec.make()
    for step in range(5):
        agent.update(make_batch(seed=step, terminations=False))
    save_run(tmp_path / "run", agent, [], TRAINING, {}, spec)
    resumed = load_agent(tmp_path / "run")
    assert_same(agent.state_dict(), resumed.state_dict())
    for step in range(5, 12):
        batch = make_batch(seed=step, terminations=False)
        metrics = [learner.update(batch) for learner in (agent, resumed)]
        assert metrics[0] == metrics[1]
    assert_same(agent.state_dict(), resumed.state_dict())
    assert resumed.step == 12


def test_td3_bc_starts_as_its_seed_says_and_disturbs_no_other_draws(td3_bc):
    def first(seed):
        torch.manual_seed(seed + 100)
        expected = torch.rand(3)
        torch.manual_seed(seed + 100)
        agent = make_agent("td3-bc", **DIMS, seed=seed, hidden_dim=8)
        agent.update(make_batch())
        assert torch.equal(torch.rand(3), expected)
        return agent.act(torch.ones(2, 3))

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


def test_td3_bc_learns_from_rewards(td3_bc, minari_root, small_kwargs, small_world):
    """On a log that is mostly random it finds what cloning, its limit at α = 0, cannot."""
    dataset = generate_dataset(
        "t-v0",
        scenario="extreme",
        num_rounds=10_000,
        env_kwargs=small_kwargs,
        card=False,
        progress=False,
    )
    transitions = load_transitions(dataset)

    def value(alpha):
        agent = make_agent(
            "td3-bc",
            observation_dim=10,
            action_dim=16,
            alpha=alpha,
            hidden_dim=64,
            learning_rate=3e-3,
        )
        train(agent, transitions, TrainingConfig(steps=400, batch_size=128), progress=False)
        return recsim_drpo.evaluate(agent, small_world, num_users=1_000).normalized

    cloning, learned = value(0.0), value(0.1)
    assert learned.low > 0.5  # items drawn at random are at 0
    assert learned.low > cloning.high + 0.1
