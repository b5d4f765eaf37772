from __future__ import annotations

import shutil
import sys
import tracemalloc
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch

from recsim_drpo.agents.registry import AgentSpec
from recsim_drpo.cli import main
from recsim_drpo.runs.folder import CHECKPOINT, save_run
from recsim_drpo.serving.recommender import Recommender, items_of_run, load_recommender
from recsim_drpo.simulator.catalogue import SimulatedCatalogue
from recsim_drpo.simulator.decoder import ExactDecoder
from recsim_drpo.simulator.world import make_world

MODULE = """
import torch
class Fixed:
    '''Always the same action.'''
    def __init__(self, *, observation_dim, action_dim, seed, device):
        self.action = torch.arange(1.0, action_dim + 1)
    def update(self, batch):
        return {}
    def act(self, observations):
        return self.action.expand(len(observations), -1).numpy()
    def state_dict(self):
        return {"action": self.action}
    def load_state_dict(self, state):
        self.action = state["action"]
"""


def test_top_is_what_the_decoder_says(service, run, contexts):
    recommender = load_recommender(run)
    world = make_world(**service.WORLD)
    actions = recommender.agent.act(torch.from_numpy(contexts))
    cosines = torch.nn.functional.cosine_similarity(actions[:, None], world.embeddings[None], dim=2)
    scores, rows = recommender.top(contexts, 60)
    torch.testing.assert_close(scores, cosines.sort(dim=1, descending=True).values)
    torch.testing.assert_close(cosines.gather(1, rows), scores)
    direct = ExactDecoder(world.embeddings).search(torch.nn.functional.normalize(actions), 5)
    assert torch.equal(direct[1], rows[:, :5])
    assert torch.equal(world.decode(actions), rows[:, 0])


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_streaming_equals_one_shot(service, run, tmp_path, monkeypatch, suffix):
    pytest.importorskip("pyarrow")
    recommender = load_recommender(run)
    contexts = np.random.default_rng(0).uniform(-1, 1, (9_000, service.DIM)).astype(np.float32)
    path = service.write_contexts(tmp_path / f"in{suffix}", contexts)
    scores, rows = recommender.top(contexts, 2)
    sizes, top = [], recommender.top
    monkeypatch.setattr(recommender, "top", lambda x, k: sizes.append(len(x)) or top(x, k))
    recommender.recommend(path, tmp_path / f"out{suffix}", k=2)
    assert sizes == [4096, 4096, 808]
    results = service.plain(service.read_results(tmp_path / f"out{suffix}"), "row")
    assert [row[:3] for row in results] == [
        (str(i), rank + 1, str(rows[i, rank].item())) for i in range(9_000) for rank in range(2)
    ]
    np.testing.assert_allclose([row[3] for row in results], scores.flatten(), atol=1e-6)


def test_ids_of_the_items(service, tmp_path, contexts):
    vectors = np.random.default_rng(1).normal(size=(30, 8))
    path = tmp_path / "items.csv"
    header = "item_id," + ",".join(f"v{i}" for i in range(8))
    lines = [f"film-{i}," + ",".join(map(str, row)) for i, row in enumerate(vectors)]
    path.write_text("\n".join([header, *lines]))
    run = service.make_run(tmp_path / "run", env=False)  # a log of no catalogue of ours
    with pytest.raises(ValueError, match=r"'try/small-v0', names no catalogue.*--embeddings FILE"):
        load_recommender(run)
    with pytest.raises(ValueError, match="not of unit length"):
        load_recommender(run, embeddings=path)
    recommender = load_recommender(run, embeddings=path, normalize=True)
    service.write_contexts(tmp_path / "in.csv", contexts)
    recommender.recommend(tmp_path / "in.csv", tmp_path / "out.jsonl", k=1)
    actions = recommender.agent.act(torch.from_numpy(contexts)).numpy()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    best = (actions @ unit.T).argmax(axis=1)
    assert [r["item_id"] for r in service.read_results(tmp_path / "out.jsonl")] == [
        f"film-{i}" for i in best
    ]


def test_items_of_a_log_of_sessions_and_of_another_environment(service):
    spec = gym.make("RecSimZipfSession-v0", **service.WORLD).spec
    config = {"action_dim": 8, "source": {"env_spec": spec.to_json()}}
    items = items_of_run(config)
    np.testing.assert_array_equal(
        items.embeddings, make_world(**service.WORLD).catalogue.embeddings
    )
    assert items.item_ids.tolist() == list(range(60))
    config["source"]["env_spec"] = gym.spec("CartPole-v1").to_json()
    with pytest.raises(ValueError, match="names no catalogue"):
        items_of_run(config)


def test_agents_from_outside(service, tmp_path, monkeypatch, contexts):
    (tmp_path / "fixed_agents.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    recommender = load_recommender(service.make_run(tmp_path / "run", "fixed_agents:Fixed"))
    items = make_world(**service.WORLD).catalogue.embeddings
    action = np.arange(1.0, 9.0)
    cosines = items @ (action / np.linalg.norm(action))
    scores, rows = recommender.top(contexts, 3)
    assert rows.tolist() == [np.argsort(-cosines)[:3].tolist()] * 25
    np.testing.assert_allclose(scores[0], np.sort(cosines)[::-1][:3], rtol=1e-5)


def test_other_mistakes(service, run, contexts, tmp_path, monkeypatch, capsys):
    path = service.write_contexts(tmp_path / "in.csv", contexts)
    np.save(tmp_path / "wide.npy", np.eye(9, dtype=np.float32))
    world = make_world(**service.WORLD)
    broken = SimpleNamespace(act=lambda x: torch.full((len(x), 8), torch.nan))
    narrow = SimpleNamespace(act=lambda x: torch.zeros(len(x), 3))
    items = world.catalogue
    with pytest.raises(ValueError, match="not finite for 25 of 25 contexts"):
        Recommender(broken, items, service.DIM).recommend(path, tmp_path / "out.csv")
    with pytest.raises(ValueError, match=r"shape \(25, 3\) for 25 .* takes \(25, 8\)"):
        Recommender(narrow, items, service.DIM).top(contexts, 1)
    (tmp_path / "taken.csv").write_text("mine")
    service.make_run(tmp_path / "many" / "seed-0")
    service.make_run(tmp_path / "many" / "seed-1")
    for arguments, message in (
        (["nowhere"], "There is no run in"),
        ([tmp_path / "many"], "There are 2 runs in"),
        ([run, "--contexts", tmp_path / "none.csv"], "There is no file at"),
        ([run, "--contexts", path, "--out", tmp_path / "taken.csv"], "choose another file"),
        ([run, "--contexts", path, "--out", tmp_path / "in.csv" / "x.csv"], "is a file"),
        ([run, "--embeddings", tmp_path / "wide.npy"], "have 9 dimensions; the policy's"),
        ([run, "--normalize"], "--normalize is about a file"),
        ([run, "--contexts", path, path], "named more than once"),
        ([run, "--output-format", "parquet", "--contexts", path], "needs a file"),
        ([run, "--device", "cuda:9"], "device='cuda:9'"),
    ):  # fmt: skip
        assert main(["recommend", *map(str, arguments)]) == 2
        printed = capsys.readouterr()
        assert message in printed.err
        assert printed.err.count("\n") == 1
        assert printed.out == ""
    assert (tmp_path / "taken.csv").read_text() == "mine"
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "c.parquet").write_bytes(b"")
    assert main(["recommend", str(run), "--contexts", str(tmp_path / "c.parquet")]) == 2
    assert 'pip install "recsim-drpo[parquet]"' in capsys.readouterr().err


def test_a_checkpoint_of_another_dimension(service, run, tmp_path, capsys):
    wide = AgentSpec("bc", service.DIM + 1, 8)
    save_run(tmp_path / "wide", wide.make(), [], service.TRAINING, {}, wide)
    shutil.copy(tmp_path / "wide" / CHECKPOINT, run / CHECKPOINT)
    assert main(["recommend", str(run), "--contexts", "none.csv"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "does not fit this 'bc' agent (observation_dim=4, action_dim=8)" in line


def test_a_changed_catalogue_is_noticed(service, tmp_path):
    path = tmp_path / "items.npy"
    np.save(path, np.eye(8, dtype=np.float32))
    checksum = SimulatedCatalogue.from_embeddings(
        np.eye(8), num_topics=2, popularity_exponent=1.0, catalogue_seed=0
    ).checksum
    world = {"embeddings": str(path), "num_topics": 2, "context_dim": service.DIM}
    spec = gym.make("RecSimZipf-v0", **world, embeddings_checksum=checksum).spec.to_json()
    agent = AgentSpec("bc", service.DIM, 8)
    save_run(tmp_path / "run", agent.make(), [], service.TRAINING, {"env_spec": spec}, agent)
    assert load_recommender(tmp_path / "run").items.embeddings.shape == (8, 8)
    np.save(path, np.eye(8, dtype=np.float32)[::-1])
    with pytest.raises(ValueError, match="has changed"):
        load_recommender(tmp_path / "run")


def test_memory_does_not_grow_with_the_table(service, run, tmp_path):
    """Pieces are let go: the peak of Python's own memory is that of one piece."""
    recommender = load_recommender(run)
    peaks = []
    for rows in (8_000, 32_000):  # each of many blocks of bytes
        path = tmp_path / f"{rows}.csv"
        path.write_text(f"{service.HEADER},note\n" + f"{service.ROW},{'x' * 600}\n" * rows)
        tracemalloc.start()
        recommender.recommend(path, tmp_path / f"out-{rows}.csv", k=2)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
