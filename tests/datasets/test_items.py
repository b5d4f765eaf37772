"""Everything that decodes an action decodes it to the same item, by one rule of unit length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recsim_drpo import cli, generate_dataset, load_transitions, make_world
from recsim_drpo.datasets.import_log import import_log
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.items import NoItemsError, resolve_items
from recsim_drpo.datasets.load import open_dataset
from recsim_drpo.ope.logs import ItemLog, read_item_log
from recsim_drpo.runs.folder import load_agent, load_config, save_trained, source_of
from recsim_drpo.serving.onnx_export import export_run
from recsim_drpo.serving.recommender import load_recommender
from recsim_drpo.simulator.decoder import ExactDecoder, decode
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.sweep import train_many

NUM_ITEMS, DIM = 60, 8
WORLD = {"num_topics": 4, "context_dim": 3}
REFUSED = "not of unit length.*--normalize"


@pytest.fixture
def vectors() -> np.ndarray:
    """Item vectors of lengths from 0.5 to 2."""
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((NUM_ITEMS, DIM))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows * np.linspace(0.5, 2.0, NUM_ITEMS)[:, None]).astype(np.float32)


@pytest.fixture
def file(vectors, tmp_path) -> Path:
    np.save(tmp_path / "vectors.npy", vectors)
    return tmp_path / "vectors.npy"


@pytest.fixture
def run(file, minari_root, tmp_path) -> Path:
    """A run on a log of these items."""
    world = {**WORLD, "embeddings": str(file), "normalize": True}
    dataset = generate_dataset(
        "items/own-v0", num_rounds=200, env_kwargs=world, card=False, progress=False
    )
    config = TrainingConfig(steps=3, batch_size=16)
    (trained,) = train_many(
        {"drpo": [{"hidden_dim": 16}]}, load_transitions(dataset), config, progress=False
    )
    save_trained(tmp_path / "run", trained, config, source_of(dataset))
    return tmp_path / "run"


def contexts():
    return torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1


def items_by_cosine(run, vectors):
    actions = load_agent(run).act(contexts()).double().numpy()
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return (actions @ unit.T).argmax(axis=1)


def test_ope_evaluate_recommend_and_export_agree_on_the_item(run, file, vectors, tmp_path):
    expected = items_by_cosine(run, vectors)
    actions = load_agent(run).act(contexts())
    unscaled = (actions.numpy() @ vectors.T).argmax(axis=1)
    assert (unscaled != expected).mean() > 0.5  # other items would be shown

    world = make_world(**WORLD, embeddings=str(file), normalize=True)  # of evaluate
    assert world.decode(actions).tolist() == expected.tolist()
    for given in ({}, {"embeddings": file, "normalize": True}):
        log = read_item_log("items/own-v0", **given)
        assert decode(ExactDecoder(log.embeddings), actions).tolist() == expected.tolist()
        _, rows = load_recommender(run, **given).top(contexts(), 1)
        assert rows[:, 0].tolist() == expected.tolist()
        out = tmp_path / f"export-{len(given)}"
        export_run(run, out, **given)
        scores = np.load(out / "items.npy") @ actions.numpy().T
        assert scores.argmax(axis=0).tolist() == expected.tolist()


def test_items_of_another_length_are_refused_everywhere(run, file, tmp_path, capsys):
    with pytest.raises(ValueError, match=REFUSED):
        resolve_items(file)
    with pytest.raises(ValueError, match=REFUSED):
        read_item_log("items/own-v0", embeddings=file)
    with pytest.raises(ValueError, match=REFUSED):
        load_recommender(run, embeddings=file)
    with pytest.raises(ValueError, match=REFUSED):
        export_run(run, tmp_path / "export", embeddings=file)
    with pytest.raises(ValueError, match=REFUSED):
        make_world(**WORLD, embeddings=str(file))
    (tmp_path / "log.csv").write_text("x,item_id,reward\n1,3,0\n")
    columns = Columns(numbers=("x",), propensity=None)
    with pytest.raises(ValueError, match=REFUSED):
        import_log("items/refused-v0", tmp_path / "log.csv", file, columns, progress=False)
    arguments = ["ope", str(run), "--dataset", "items/own-v0", "--embeddings", str(file)]
    assert cli.main(arguments) == 2
    assert "--normalize" in capsys.readouterr().err
    assert cli.main([*arguments, "--normalize"]) == 0


def test_scaling_is_refused_where_there_is_no_file(run):
    for source in (open_dataset("items/own-v0"), load_config(run)["source"]):
        with pytest.raises(ValueError, match="none is given"):
            resolve_items(source, normalize=True)


def test_a_dataset_its_run_and_its_file_have_the_same_items(run, file):
    found = [
        resolve_items(open_dataset("items/own-v0")),
        resolve_items(load_config(run)["source"]),
        resolve_items(file, normalize=True),
    ]
    assert len({one.checksum for one in found}) == 1
    assert [one.item_ids.tolist() for one in found] == [list(range(NUM_ITEMS))] * 3


def test_items_of_an_imported_log(file, minari_root, tmp_path):
    (tmp_path / "log.csv").write_text("x,item_id,reward\n" + "1,3,0\n0,5,1\n" * 10)
    columns = Columns(numbers=("x",), propensity=None)
    dataset = import_log(
        "items/imported-v0", tmp_path / "log.csv", file, columns, normalize=True, progress=False
    )
    items = resolve_items(dataset)
    assert items.checksum == resolve_items(file, normalize=True).checksum
    assert resolve_items(source_of(dataset)).checksum == items.checksum
    changed = source_of(dataset) | {"catalogue_checksum": "another"}
    with pytest.raises(ValueError, match="have changed since the run learnt from it"):
        resolve_items(changed)
    with pytest.raises(FileNotFoundError, match="is gone"):
        resolve_items(source_of(dataset) | {"dataset": "items/gone-v0"})


def test_a_log_that_names_no_catalogue():
    with pytest.raises(NoItemsError, match=r"'someone/elses-v0', names no catalogue.*--embeddings"):
        resolve_items({"dataset": "someone/elses-v0", "env_spec": None})


def test_the_embeddings_of_an_item_log_have_unit_length(vectors):
    rounds = torch.zeros(3, 2), torch.tensor([0, 1, 2]), torch.zeros(3), None
    with pytest.raises(ValueError, match="not of unit length"):
        ItemLog(*rounds, torch.from_numpy(vectors), np.arange(NUM_ITEMS))
