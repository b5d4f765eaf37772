"""Recommending, serving and exporting by an approximate decoder, and what is told of it."""

import asyncio
import json
import sys

import numpy as np
import pytest
import torch

from recsim_drpo.agents.registry import AgentSpec
from recsim_drpo.cli.serve import _loaded
from recsim_drpo.runs.folder import save_run
from recsim_drpo.serving.exploration import Exploration
from recsim_drpo.serving.onnx_export import export_run
from recsim_drpo.serving.ranking import Ranker, ranking_recall
from recsim_drpo.serving.recommender import load_recommender
from recsim_drpo.serving.rules import Rules
from recsim_drpo.simulator.catalogue import checksum_of
from recsim_drpo.simulator.decoder import directions
from recsim_drpo.simulator.retrieval import make_decoder, sampled_recall

WHOLE, SCARCE = "faiss:IVF6,Flat?nprobe=6", "faiss:IVF20,Flat?nprobe=1"


@pytest.mark.parametrize("k", [1, 7, 60])
def test_all_lists_recommend_what_exact_search_does(indexes, run, contexts, k):
    expected = load_recommender(run).top(contexts, k)
    found = load_recommender(run, decoder=WHOLE).top(contexts, k)
    assert torch.equal(found[1], expected[1])
    assert torch.equal(found[0], expected[0])


@pytest.fixture
def ranker(indexes):
    """Of 500 items in all directions, by a decoder that misses many."""
    items = directions(torch.randn((500, 16), generator=torch.Generator().manual_seed(0)))
    return Ranker(items, make_decoder("faiss:IVF32,Flat?nprobe=2", items))


@pytest.fixture
def actions():
    return 3.0 * torch.randn((200, 16), generator=torch.Generator().manual_seed(1))


def test_scores_are_by_the_rule_whatever_is_found(ranker, actions):
    scores, rows = ranker.top(actions, 3)
    wide = actions.double() / actions.double().norm(dim=1, keepdim=True)
    by_rule = (wide @ ranker.embeddings.double().T).gather(1, rows)
    torch.testing.assert_close(scores, by_rule.float(), atol=1e-7, rtol=0)
    assert (scores.diff(dim=1) <= 0).all()
    assert not torch.equal(rows, Ranker(ranker.embeddings).top(actions, 3).rows)


@pytest.mark.parametrize("k", [1, 3])
def test_recall_of_rankings_by_hand(ranker, actions, k):
    found = ranking_recall(ranker, actions, k)
    rows, best = (one.top(actions, k).rows for one in (ranker, Ranker(ranker.embeddings)))
    assert found.at_1 == pytest.approx(float((rows[:, 0] == best[:, 0]).double().mean()))
    hits = [len(set(a) & set(b)) / k for a, b in zip(rows.tolist(), best.tolist(), strict=True)]
    assert found.at_k == pytest.approx(np.mean(hits))
    assert 0.1 < found.at_k <= found.at_1 < 0.9
    text = f"Items are found by faiss:IVF32,Flat?nprobe=2: recall@1 {found.at_1:.1%}, "
    text += "" if k == 1 else f"recall@3 {found.at_k:.1%}, "
    assert str(found) == text + "of the first 200 contexts."


def test_what_is_told_of_a_table(indexes, service, run, contexts, tmp_path):
    file = service.write_contexts(tmp_path / "in.csv", contexts)
    recommender = load_recommender(run, decoder=SCARCE)
    recommender.recommend(file, tmp_path / "out.csv", k=3)
    told = json.loads((tmp_path / "out.csv.retrieval.json").read_text())
    assert (
        told == recommender.recall._asdict() == recommender.measured_recall(contexts, 3)._asdict()
    )
    assert (told["decoder"], told["k"], told["actions"]) == (SCARCE, 3, 25)
    exact = load_recommender(run)
    exact.recommend(file, tmp_path / "exact.csv", k=3)
    assert exact.recall is None
    assert not list(tmp_path.glob("exact.csv.*"))


def test_among_allowed_items_nothing_is_missed(indexes, service, run, contexts, tmp_path):
    file = service.write_contexts(tmp_path / "in.csv", contexts)
    (tmp_path / "deny.txt").write_text("3\n")
    recommender = load_recommender(run, decoder=SCARCE)
    rules = Rules(deny=tmp_path / "deny.txt")
    recommender.recommend(file, tmp_path / "out.csv", k=3, rules=rules)
    load_recommender(run).recommend(file, tmp_path / "exact.csv", k=3, rules=rules)
    assert (tmp_path / "out.csv").read_text() == (tmp_path / "exact.csv").read_text()
    assert recommender.recall is None


def test_categories_and_exploring_are_over_what_is_found(indexes, service, run, contexts, tmp_path):
    file = service.write_contexts(tmp_path / "in.csv", contexts)
    table = "item_id,category\n" + "".join(f"{i},{i % 2}\n" for i in range(60))
    (tmp_path / "categories.csv").write_text(table)
    for number, options in enumerate(
        [
            {"rules": Rules(categories=tmp_path / "categories.csv", max_per=1), "k": 2},
            {"exploration": Exploration(temperature=0.1, top=9), "k": 3},
            {"exploration": Exploration(epsilon=0.3), "k": 3},
        ]
    ):
        texts = []
        for decoder in (WHOLE, "exact"):
            out = tmp_path / f"{decoder[:5]}-{number}.csv"
            load_recommender(run, decoder=decoder).recommend(file, out, **options)
            texts.append(out.read_text())
        assert texts[0] == texts[1]


def run_of_a_world(service, folder, decoder):
    import gymnasium as gym

    spec = AgentSpec("bc", service.DIM, 8, 0, {})
    env = gym.make("RecSimZipf-v0", decoder=decoder, **service.WORLD)
    source = {"dataset": "try/small-v0", "env_spec": env.spec.to_json()}
    save_run(folder, spec.make(), [], service.TRAINING, source, spec)
    return folder


def test_a_runs_world_says_how_items_are_found(indexes, service, tmp_path):
    run = run_of_a_world(service, tmp_path / "by-faiss", SCARCE)
    assert load_recommender(run).decoder.name == SCARCE
    assert "name" not in vars(load_recommender(run, decoder="exact").decoder)
    np.save(tmp_path / "other.npy", np.eye(8, dtype=np.float32))  # of which it says nothing
    other = load_recommender(run, embeddings=tmp_path / "other.npy")
    assert other.top(torch.ones((1, 4)), 8)[1].sort().values.tolist() == [list(range(8))]


def test_a_server_says_what_it_serves_by(indexes, run):
    recommender, about = _loaded(run, decoder=SCARCE)
    assert about["decoder"] == SCARCE
    expected = sampled_recall(recommender.decoder, recommender.embeddings)
    assert about["recall_at_1"] == pytest.approx(expected, abs=1e-4)
    assert about["recall_at_1"] < 1.0
    about = _loaded(run)[1]
    assert about["decoder"] == "exact"
    assert "recall_at_1" not in about


def test_a_server_answers_by_it(indexes, service, run):
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("starlette")
    pytest.importorskip("prometheus_client")
    from recsim_drpo.serving.http import make_app
    from recsim_drpo.serving.online import Service

    app = make_app(Service(lambda: _loaded(run, decoder=WHOLE)))

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            version = await client.get("/version")
            body = {"context": [0.1, 0.2, 0.3, 0.4], "k": 5}
            return version.json(), (await client.post("/recommend", json=body)).json()

    version, answer = asyncio.run(ask())
    assert (version["decoder"], version["recall_at_1"]) == (WHOLE, 1.0)
    rows = load_recommender(run).top(torch.tensor([[0.1, 0.2, 0.3, 0.4]]), 5)[1]
    assert [item["item_id"] for item in answer["recommendations"][0]] == rows[0].tolist()


def test_an_export_has_the_index(indexes, run, contexts, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    decoder = "faiss:IVF20,Flat?nprobe=5"
    told = export_run(run, tmp_path / "out", decoder=decoder)
    assert json.loads((tmp_path / "out" / "export.json").read_text()) == told
    assert told["index"]["decoder"] == decoder
    assert told["index"]["settings"] == {"nprobe": 5.0}
    # A program without recsim_drpo: faiss proposes, the vectors order.
    faiss, items = sys.modules["faiss"], np.load(tmp_path / "out" / "items.npy")
    index = faiss.read_index(str(tmp_path / "out" / told["index"]["file"]))
    session = onnxruntime.InferenceSession(tmp_path / "out" / "policy.onnx")
    (actions, *_) = session.run(None, {"observations": contexts})
    queries = actions / np.linalg.norm(actions, axis=1, keepdims=True)
    _, proposed = index.search(queries, 1 + 15)
    scores = np.where(proposed >= 0, (queries[:, None] * items[proposed]).sum(-1), -np.inf)
    best = proposed[np.arange(25), scores.argmax(axis=1)]
    recommender = load_recommender(run, decoder=decoder)
    assert best.tolist() == recommender.top(contexts, 1)[1].squeeze(1).tolist()
    expected = sampled_recall(recommender.decoder, recommender.embeddings)
    assert told["index"]["recall_at_1"] == expected
    # And this package, by the folder: the settings are those it was written with.
    named = load_recommender(run, decoder=f"index:{tmp_path / 'out' / 'index'}")
    assert named.decoder.name == decoder
    assert torch.equal(named.top(contexts, 3)[1], recommender.top(contexts, 3)[1])


def test_an_export_without_one_is_as_before(run, tmp_path):
    pytest.importorskip("onnxruntime")
    told = export_run(run, tmp_path / "out")
    assert "index" not in told
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "export.json",
        "item_ids.npy",
        "items.npy",
        "policy.onnx",
    ]


def test_an_index_of_other_items_is_refused_where_it_is_named(indexes, run, tmp_path):
    from recsim_drpo.simulator.index_files import write_index

    vectors = torch.nn.functional.normalize(torch.randn(60, 8), dim=1)
    index = make_decoder("faiss:Flat", vectors).index
    write_index(tmp_path / "index", index, "Flat", checksum_of(vectors.numpy()))
    with pytest.raises(ValueError, match="is of the catalogue"):
        load_recommender(run, decoder=f"index:{tmp_path / 'index'}")
