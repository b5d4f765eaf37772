"""Worlds from keyword arguments: which are refused, what is read from files, who shares one."""

import dataclasses
import os
import re

import numpy as np
import pytest
import torch

from recsim_drpo.simulator.catalogue import SimulatedCatalogue
from recsim_drpo.simulator.config import WorldConfig
from recsim_drpo.simulator.described_catalogue import make_catalogue
from recsim_drpo.simulator.world import World, make_world, shared_world

SMALL = {"num_items": 150, "embedding_dim": 12, "num_topics": 6}


def unit_vectors(num_items=30, dim=6, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((num_items, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


def save(path, vectors):
    # Aside and then moved: an older world may still map the file that was there.
    aside = path.with_name("aside.npy")
    np.save(aside, vectors)
    aside.replace(path)
    return str(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_items", 0),
        ("embedding_dim", 1),
        ("embedding_dim", 1025),
        ("num_topics", 0),
        ("topic_spread", -1.0),
        ("topic_size_exponent", -1.0),
        ("popularity_exponent", float("nan")),
    ],
)
def test_values_of_the_catalogue_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf"^{field}="):
        make_world(**{**SMALL, field: value})


def test_a_misspelt_field_is_met_with_the_nearest():
    with pytest.raises(
        ValueError, match=r"Unknown world parameter 'num_item'. Did you mean 'num_i"
    ):
        make_world(num_item=10)
    with pytest.raises(ValueError, match=r"'embedding_dims'. Did you mean 'embedding_dim'\?"):
        make_world(embeddings=unit_vectors(), embedding_dims=6)
    with pytest.raises(ValueError, match=r"Known: catalogue_seed, context_dim, delta"):
        make_world(qqqqqqqq=1)


def test_a_device_that_is_not_there():
    with pytest.raises(ValueError, match=r"device='nonsense' cannot be used here.*available: cpu"):
        make_world("nonsense", **SMALL)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("normalize", True),
        ("embeddings_checksum", "ab"),
        ("id_column", "sku"),
        ("vector_columns", "v*"),
    ],
)
def test_options_of_a_file_need_a_file(field, value):
    with pytest.raises(ValueError, match=re.escape(f"{field}={value!r} is about a file")):
        make_world(**SMALL, **{field: value})


def test_default_world_has_the_documented_size():
    config = WorldConfig()
    assert (config.num_items, config.embedding_dim) == (None, None)
    catalogue = make_catalogue(dataclasses.replace(config, topic_spread=0.0))
    assert catalogue.embeddings.shape == (5000, 128)
    assert catalogue.topic_centres.shape == (20, 128)


def test_world_of_a_file(tmp_path):
    vectors = unit_vectors()
    path = save(tmp_path / "items.npy", vectors)
    world = make_world(embeddings=path, num_topics=3, num_items=30, embedding_dim=6)
    np.testing.assert_array_equal(world.embeddings.numpy(), vectors)
    assert world.config.embeddings == path
    assert world.catalogue.item_ids.tolist() == list(range(30))
    users = world.users("train", 0, torch.arange(100))
    cosines = users.interests.double() @ torch.from_numpy(vectors).double().T
    assert torch.equal(world.best_items(users.tastes), cosines.argmax(dim=1))


def test_world_of_a_path_object(tmp_path):
    save(tmp_path / "items.npy", unit_vectors())
    world = make_world(embeddings=tmp_path / "items.npy", num_topics=3)
    assert world.num_items == 30


@pytest.mark.parametrize(
    ("field", "value"), [("num_items", 31), ("embedding_dim", 7), ("num_items", 29)]
)
def test_a_file_that_disagrees_with_the_configuration(tmp_path, field, value):
    path = save(tmp_path / "items.npy", unit_vectors())
    with pytest.raises(ValueError, match=rf"{field}={value}, but .* shape is \(30, 6\)"):
        make_world(embeddings=path, num_topics=3, **{field: value})
    with pytest.raises(ValueError, match=rf"{field}={value}, but .* shape is \(30, 6\)"):
        make_world(embeddings=unit_vectors(), num_topics=3, **{field: value})


def test_checksum_of_the_file(tmp_path):
    path = save(tmp_path / "items.npy", unit_vectors())
    checksum = make_world(embeddings=path, num_topics=3).catalogue.checksum
    again = make_world(embeddings=path, num_topics=3, embeddings_checksum=checksum)
    assert again.catalogue.checksum == checksum
    wrong = "0" * 64
    with pytest.raises(ValueError, match=rf"has checksum {checksum}, expected .{wrong[:17]}…"):
        make_world(embeddings=path, num_topics=3, embeddings_checksum=wrong)


def test_missing_file_of_embeddings(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        make_world(embeddings=str(tmp_path / "nowhere.npy"))


def test_normalising_a_file(tmp_path):
    path = save(tmp_path / "items.npy", 4.0 * unit_vectors())
    with pytest.raises(ValueError, match=r"30 of 30 .* pass normalize=True"):
        make_world(embeddings=path, num_topics=3)
    world = make_world(embeddings=path, num_topics=3, normalize=True)
    np.testing.assert_allclose(world.embeddings, unit_vectors(), atol=1e-6)


def test_columns_of_a_table(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("sku,v0,v1,price\nx,3,4,9\ny,0,-2,8\n", encoding="utf-8")
    world = make_world(
        embeddings=str(path), id_column="sku", vector_columns="v*", normalize=True, num_topics=2
    )
    assert world.catalogue.item_ids.tolist() == ["x", "y"]
    np.testing.assert_allclose(world.embeddings, [[0.6, 0.8], [0.0, -1.0]], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_world_of_an_array(dtype):
    vectors = unit_vectors().astype(dtype)
    world = make_world(embeddings=vectors, num_topics=3, delta=0.5)
    np.testing.assert_allclose(world.embeddings, vectors, atol=1e-7)
    assert world.config.embeddings is None
    assert world.config.delta == 0.5
    assert make_world(embeddings=vectors, num_topics=3, delta=0.5) is not world
    doubled = make_world(embeddings=2 * vectors, num_topics=3, normalize=True)
    np.testing.assert_allclose(doubled.embeddings, vectors, atol=1e-6)


def test_world_of_a_nested_list():
    world = make_world(embeddings=[[1.0, 0.0], [0.0, 1.0]], num_topics=1)
    assert world.embeddings.tolist() == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[::-1],
        lambda x: x[:, ::-1],
        lambda x: x[::2],
        np.asfortranarray,
        lambda x: x.astype(">f4"),
    ],
    ids=["rows reversed", "columns reversed", "every other", "Fortran", "big endian"],
)
def test_world_of_an_array_in_any_layout(view):
    vectors = view(unit_vectors())
    world = make_world(embeddings=vectors, num_topics=3)
    np.testing.assert_array_equal(world.embeddings.numpy(), vectors)


def test_world_of_an_array_that_is_none():
    with pytest.raises(ValueError, match=r"numeric array \(items, dims\)"):
        make_world(embeddings=np.ones(4), num_items=4)


def test_a_catalogue_of_the_callers():
    catalogue = SimulatedCatalogue.from_embeddings(
        unit_vectors(),
        item_ids=[f"i{i}" for i in range(30)],
        num_topics=4,
        popularity_exponent=0.5,
        catalogue_seed=8,
    )
    world = World(WorldConfig(), catalogue=catalogue)
    assert world.catalogue is catalogue
    assert (world.num_items, world.dim) == (30, 6)
    assert world.users("train", 0, torch.arange(2)).tastes.shape == (2, 4)


def test_one_configuration_is_one_world():
    first = make_world(**SMALL, catalogue_seed=77)
    assert make_world(**SMALL, catalogue_seed=77) is first
    assert shared_world(WorldConfig(**SMALL, catalogue_seed=77)) is first
    assert shared_world(WorldConfig(**SMALL, catalogue_seed=77), torch.device("cpu")) is first
    assert make_world(**SMALL, catalogue_seed=78) is not first


def test_a_changed_file_is_another_world(tmp_path):
    path = save(tmp_path / "items.npy", unit_vectors(seed=1))
    first = make_world(embeddings=path, num_topics=3)
    assert make_world(embeddings=path, num_topics=3) is first
    save(tmp_path / "items.npy", unit_vectors(seed=2))
    # Of equal size: only the time tells, here set apart whatever the file system's clock.
    os.utime(path, ns=(10**18, 10**18))
    second = make_world(embeddings=path, num_topics=3)
    assert second is not first
    np.testing.assert_array_equal(second.embeddings.numpy(), unit_vectors(seed=2))
    np.testing.assert_array_equal(first.embeddings.numpy(), unit_vectors(seed=1))
    save(tmp_path / "items.npy", unit_vectors(num_items=31, seed=3))
    os.utime(path, ns=(10**18, 10**18))
    assert make_world(embeddings=path, num_topics=3).num_items == 31


def test_an_error_is_not_remembered(tmp_path):
    path = tmp_path / "items.npy"
    with pytest.raises(FileNotFoundError):
        make_world(embeddings=str(path), num_topics=3)
    save(path, unit_vectors())
    assert make_world(embeddings=str(path), num_topics=3).num_items == 30
