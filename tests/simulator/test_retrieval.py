"""Approximate decoders: held against exact search, on catalogues small enough to know the truth."""

import builtins
import json
import warnings

import numpy as np
import pytest
import torch

from recsim_drpo import World, WorldConfig, make_sessions, make_world
from recsim_drpo.core import memory
from recsim_drpo.simulator import faiss_decoder, faiss_engine, faiss_tuning, retrieval
from recsim_drpo.simulator.catalogue import checksum_of
from recsim_drpo.simulator.decoder import NO_ITEM, Decoder, ExactDecoder, directions
from recsim_drpo.simulator.decoder_names import DecoderName
from recsim_drpo.simulator.index_files import (
    ABOUT,
    INDEX,
    UnusableIndexError,
    kept_folder,
    kept_indexes,
    write_index,
)
from recsim_drpo.simulator.retrieval import check_decoder, label, make_decoder, recall

DIM, ITEMS = 16, 400


def unit(rows: int, seed: int = 0, dim: int = DIM) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return directions(torch.randn((rows, dim), generator=generator))


@pytest.fixture
def items(indexes):
    return unit(ITEMS)


@pytest.mark.parametrize(
    "name", ["faiss:Flat", "faiss:IVF8,Flat?nprobe=8", "faiss:IVF8,PQ4x4?nprobe=8", "faiss:HNSW32"]
)
@pytest.mark.parametrize("k", [1, 5, ITEMS])
def test_what_is_found_has_its_exact_scores_in_order(items, name, k):
    decoder, queries = make_decoder(name, items), unit(20, seed=1)
    assert isinstance(decoder, Decoder)
    scores, found = decoder.search(queries, k)
    assert scores.dtype == torch.float32
    assert found.dtype == torch.int64
    assert scores.shape == found.shape == (20, k)
    torch.testing.assert_close(scores, (queries @ items.T).gather(1, found), atol=1e-6, rtol=0)
    assert (scores.diff(dim=1) <= 0).all()
    assert all(len(set(row)) == k for row in found.tolist())


@pytest.mark.parametrize("name", ["faiss:Flat", "faiss:IVF8,Flat?nprobe=8"])
@pytest.mark.parametrize("k", [1, 7])
def test_a_search_that_leaves_nothing_out_is_exact(items, name, k):
    queries = unit(50, seed=1)
    expected = ExactDecoder(items).search(queries, k)
    found = make_decoder(name, items).search(queries, k)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert recall(make_decoder(name, items), items, queries).all()


def test_recall_is_the_share_of_best_items_found(items):
    queries = unit(200, seed=2)
    decoder = make_decoder("faiss:IVF32,Flat?nprobe=1", items)
    best = (queries @ items.T).argmax(dim=1)
    by_hand = decoder.search(queries)[1].squeeze(1) == best
    assert 0.1 < by_hand.float().mean() < 0.9
    assert recall(decoder, items, queries).tolist() == by_hand.tolist()


def test_more_probes_find_more(items):
    queries = unit(200, seed=2)
    recalls = [
        float(recall(make_decoder(f"faiss:IVF32,Flat?nprobe={n}", items), items, queries).sum())
        for n in (1, 4, 16, 32)
    ]
    assert recalls == sorted(recalls)
    assert recalls[0] < recalls[-1] == 200


def test_of_equal_scores_the_smaller_item(indexes):
    items = unit(30)[torch.arange(30) // 3 * 3]  # each vector three times
    scores, found = make_decoder("faiss:IVF4,Flat?nprobe=4", items).search(items[[2, 14]], 3)
    assert found.tolist() == [[0, 1, 2], [12, 13, 14]]
    assert (scores[:, :1] == scores).all()


def test_one_as_good_is_found(indexes):
    class Last:
        def search(self, queries, k):
            return torch.zeros((len(queries), k)), torch.full((len(queries), k), 3)

    items = unit(4)
    items[3] = items[1]
    assert recall(Last(), items, items).tolist() == [False, True, False, True]


def test_zero_and_not_finite_as_in_exact_search(items):
    queries = unit(4, seed=1)
    queries[0], queries[1, 3], queries[2, 0] = 0.0, torch.nan, -torch.inf
    for k in (1, 3):
        expected = ExactDecoder(items).search(queries, k)
        found = make_decoder("faiss:IVF8,Flat?nprobe=8", items).search(queries, k)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert found[1][:3].tolist() == [[0, 1, 2], [NO_ITEM] * 3, [NO_ITEM] * 3]


def test_where_faiss_finds_too_few_all_are_searched(items):
    queries = unit(5, seed=1)
    decoder = make_decoder("faiss:IVF64,Flat?nprobe=1", items)
    expected = ExactDecoder(items).search(queries, 200)
    torch.testing.assert_close(decoder.search(queries, 200), expected, atol=1e-6, rtol=0)


def test_no_queries_and_bad_ones(items):
    decoder = make_decoder("faiss:Flat", items)
    assert decoder.search(torch.empty((0, DIM)))[1].shape == (0, 1)
    with pytest.raises(ValueError, match=r"do not fit dimension 16"):
        decoder.search(torch.ones((2, 3)))
    with pytest.raises(ValueError, match="k=401 is not an integer from 1 to 400"):
        decoder.search(unit(2), 401)


@pytest.mark.parametrize("factory", ["IVF32,Flat", "HNSW8", "IVF16,PQ4x4fs,RFlat"])
def test_settings_are_chosen_for_a_recall(items, factory):
    decoder = make_decoder(f"faiss:{factory}?recall=0.95", items)
    queries = faiss_decoder.sampled_queries(items)
    assert recall(decoder, items, queries).float().mean() >= 0.95
    assert decoder.name.startswith(f"faiss:{factory}?")
    assert "recall" not in decoder.name
    # What the name says is what was chosen.
    torch.testing.assert_close(
        make_decoder(decoder.name, items).search(queries), decoder.search(queries)
    )


def test_settings_are_searched_by_doubling_then_halving():
    """Of a recall that 37 probes reach, by an index of 64 lists that is not even filled."""
    name = DecoderName("faiss", "IVF64,Flat")
    pytest.importorskip("faiss", exc_type=ImportError)
    index, tried = faiss_engine.empty_index(name, 400, DIM), []

    def recall_of_it():
        tried.append(int(index.nprobe))
        return float(tried[-1] >= 37)

    assert faiss_tuning.tune(index, 400, recall_of_it, 1.0) == {"nprobe": 38.0}
    assert tried == [1, 2, 4, 8, 16, 32, 64, 45, 38]
    assert index.nprobe == 38


def test_settings_are_the_first_that_reach_it(items):
    queries = faiss_decoder.sampled_queries(items)
    probes = {}
    for wanted in (0.5, 0.999, 1.0):
        name = make_decoder(f"faiss:IVF64,Flat?recall={wanted}", items).name
        probes[wanted] = int(name.partition("nprobe=")[2])
        for_less = make_decoder(f"faiss:IVF64,Flat?nprobe={max(1, probes[wanted] // 2)}", items)
        reached = float(recall(for_less, items, queries).float().mean())
        assert probes[wanted] == 1 or reached < wanted
    assert probes[0.5] < probes[0.999] <= probes[1.0] <= 64


def test_sampled_queries_lie_where_items_are(indexes):
    topics = torch.eye(DIM)[:4]
    items = directions(topics[torch.arange(ITEMS) % 4] + 0.1 * unit(ITEMS, seed=5))
    queries = faiss_decoder.sampled_queries(items, 300)
    assert queries.shape == (300, DIM)
    torch.testing.assert_close(queries.norm(dim=1), torch.ones(300))
    inside = queries[:, :4].norm(dim=1)  # random directions have half of their length there
    assert inside.min() > 0.95
    assert torch.equal(queries, faiss_decoder.sampled_queries(items, 300))


def test_sampled_queries_are_as_hard_as_random_ones_where_items_are_everywhere(indexes):
    items = unit(4_000, seed=3, dim=32)
    decoder = make_decoder("faiss:IVF128,Flat?nprobe=8", items)
    sampled = recall(decoder, items, faiss_decoder.sampled_queries(items)).float().mean()
    random = recall(decoder, items, unit(1_000, seed=4, dim=32)).float().mean()
    assert float(sampled) == pytest.approx(float(random), abs=0.12)


def test_auto_is_exact_for_few_items_and_tuned_for_many(items, monkeypatch):
    assert isinstance(make_decoder("auto", items), ExactDecoder)
    assert check_decoder("auto", retrieval.AUTO_FROM, DIM) == DecoderName(
        "faiss", "IVF512,Flat", recall=0.99
    )
    assert check_decoder("auto", 10**6, DIM).what == "IVF4096,Flat"
    assert check_decoder("auto", 10**6, 128).what == "IVF4096,PQ128x4fs,RFlat"
    assert check_decoder("auto", 10**6, DIM, "cuda") == DecoderName("exact")
    monkeypatch.setattr(retrieval, "AUTO_FROM", 300)
    # Of items in all directions most lists are looked at, and exact search is quicker.
    assert isinstance(make_decoder("auto", items), ExactDecoder)
    topics = directions(torch.eye(DIM)[torch.arange(ITEMS) % DIM] + 0.1 * unit(ITEMS, seed=5))
    decoder = make_decoder("auto?recall=0.5", topics)
    assert decoder.name.startswith("faiss:IVF64,Flat?nprobe=")
    assert decoder.settings["nprobe"] <= 8
    assert recall(decoder, topics, faiss_decoder.sampled_queries(topics)).float().mean() >= 0.5


@pytest.mark.parametrize("dim", [32, 33, 50])
def test_auto_ranks_codes_anew_where_dimensions_are_many(indexes, monkeypatch, dim):
    monkeypatch.setattr(retrieval, "AUTO_FROM", 2_000)
    topics = unit(40, seed=1, dim=dim)
    items = directions(topics[torch.arange(3_000) % 40] + 0.5 * unit(3_000, seed=2, dim=dim))
    decoder = make_decoder("auto?recall=0.9", items)
    assert decoder.factory == f"IVF256,PQ{dim}x4fs,RFlat"
    assert 1 <= decoder.settings["nprobe"] <= 128
    queries = faiss_decoder.sampled_queries(items)
    assert recall(decoder, items, queries).float().mean() >= 0.9
    # Half of the candidates would not do, or there is one of each only.
    fewer = decoder.settings["k_factor_rf"] // 2
    if fewer >= 1:
        decoder.index.k_factor = fewer
        assert recall(decoder, items, queries).float().mean() < 0.9


def test_auto_is_exact_where_the_recall_takes_most_of_the_lists(indexes, monkeypatch):
    monkeypatch.setattr(retrieval, "AUTO_FROM", 300)
    items = unit(1_000, dim=64)
    assert isinstance(make_decoder("auto?recall=1", items), ExactDecoder)
    assert faiss_engine.auto_probes(4_096, 128) == 2_048
    assert faiss_engine.auto_probes(4_096, 31) == 512


def test_candidates_are_halved_as_long_as_the_recall_is_reached():
    """Of a recall that 37 probes and 6 candidates each reach, by an index that is not filled."""
    faiss = pytest.importorskip("faiss", exc_type=ImportError)
    index = faiss_engine.empty_index(DecoderName("faiss", "IVF64,PQ4x4fs,RFlat"), 400, DIM)
    lists = faiss.extract_index_ivf(index)
    tried = []

    def recall_of_it():
        tried.append((int(lists.nprobe), int(index.k_factor)))
        return float(lists.nprobe >= 37 and index.k_factor >= 6)

    assert faiss_tuning.tune(index, 400, recall_of_it, 1.0) == {"nprobe": 38.0, "k_factor_rf": 9.0}
    assert tried[:7] == [(1, 4), (2, 4), (4, 8), (8, 8), (16, 16), (32, 16), (64, 32)]
    assert tried[7:] == [(45, 23), (38, 19), (38, 9), (38, 4)]
    assert (lists.nprobe, index.k_factor) == (38, 9)


def test_labels():
    class Mine:
        pass

    assert label(ExactDecoder(unit(3))) == "exact"
    assert label(Mine()) == "Mine"


# Names that do not fit.


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("faiss:IVFF64,Flat", r"parse index string IVFF64,Flat. .* 'faiss:IVF64,Flat'\?"),
        ("faiss:IVF64,Flatt", r"code description Flatt .* mean 'faiss:IVF64,Flat'\?"),
        ("faiss:IVF16,PQ5", r"should be a multiple of .* Did you mean 'faiss:IVF16,PQ4'\?"),
        ("faiss:LSH", r"faiss refuses decoder 'faiss:LSH' for 16 dimensions: .*METRIC_L2"),
        ("faiss:rubbish", r"could not parse index string rubbish"),
        ("faiss:IVF0,Flat", r"IVF0 has no number from 1 to"),
        ("faiss:HNSW1", r"HNSW1 has no number from 2 to"),
        ("faiss:IVF99999999999,Flat", r"IVF99999999999 has no number"),
        ("faiss:IVF401,Flat", r"has 401 lists for 400 items; .* 'faiss:IVF64,Flat'"),
        ("faiss:IVF16,PQ4x10", r"needs 1,024 items to learn its codes from, and there are 400"),
        ("faiss:IVF16,Flat?nprobe=17", r"nprobe of decoder .*=17 is not an integer from 1 to 16"),
        ("faiss:IVF16,Flat?nprobe=0", r"=0 is not an integer from 1 to 16"),
        ("faiss:IVF16,Flat?nprobe=1.5", r"=1.5 is not an integer from 1 to 16"),
        ("faiss:IVF16,Flat?nprob=4", r"Unknown parameter .*'nprob'. Did you mean 'nprobe'\?"),
        ("faiss:IVF16,Flat?efSearch=4", r"Unknown parameter .*'efSearch'"),
        ("faiss:HNSW8?efSearch=0", r"=0 is not an integer from 1 to 400"),
        ("faiss:Flat?recall=0.9", r"Flat has no parameter that trades time for recall"),
        ("index:/nowhere", r"'/nowhere' holds no index"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_anything_is_built(indexes, name, message):
    with pytest.raises(ValueError, match=message) as error:
        check_decoder(name, ITEMS, DIM)
    assert "\n" not in str(error.value)
    assert not indexes.exists()


@pytest.mark.parametrize(
    "factory", ["Flat", "IVF8,Flat", "IVF8,SQ8", "IVF8,PQ16x4fs,RFlat", "PCA8,IVF8,Flat", "HNSW16"]
)
def test_what_an_index_takes_is_known_before(factory):
    faiss = pytest.importorskip("faiss", exc_type=ImportError)
    index = faiss_engine.empty_index(DecoderName("faiss", factory), 4_000, DIM)
    expected = 4_000 * faiss_engine.bytes_of_item(index)
    faiss_engine.fill(index, unit(4_000).numpy())
    assert faiss.serialize_index(index).nbytes == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(
    ("factory", "where"),
    [
        ("Flat", lambda index: index),
        ("IVF8,PQ16x4fs,RFlat", lambda index: index.refine_index),
        ("HNSW16", lambda index: index.storage),
        ("PQ8x4", lambda index: index),
    ],
)
def test_an_index_that_is_filled_never_holds_its_items_twice(monkeypatch, factory, where):
    faiss = pytest.importorskip("faiss", exc_type=ImportError)
    monkeypatch.setattr(faiss_engine, "_ROWS", 500)  # added at a time
    index = faiss_engine.empty_index(DecoderName("faiss", factory), 4_000, DIM)
    add, places = index.add, set()

    def note(block):
        add(block)
        places.add(int(faiss.downcast_index(where(index)).codes.data()))

    monkeypatch.setattr(index, "add", note)
    faiss_engine.fill(index, unit(4_000).numpy())
    assert index.ntotal == 4_000
    assert len(places) == 1  # what grows moves, and the old and the new are there at once


def test_an_index_too_large_for_memory_is_refused_before_anything_is_built(indexes, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 2**20)
    for name in ("faiss:Flat", "faiss:HNSW32", "faiss:IVF16,Flat", "auto"):
        with pytest.raises(ValueError, match="100,000 items × 16 dim") as error:
            check_decoder(name, 100_000, DIM)
        assert "would take" in str(error.value)
        assert "there are 1 MiB; name one of smaller codes" in str(error.value)
    with pytest.raises(ValueError, match=r"would take 10.1 MiB"):  # and 65,536 to learn from
        check_decoder("faiss:Flat", 100_000, DIM)
    assert check_decoder("exact", 100_000, DIM).kind == "exact"
    assert not indexes.exists()


def test_what_is_suggested_is_taken(indexes):
    for wrong in ("IVFF99999,Flat", "IVF8,PQ7", "HNWS16", "IVF8,QP4", "rubbish"):
        with pytest.raises(ValueError, match="refuses") as error:
            check_decoder(f"faiss:{wrong}", ITEMS, DIM)
        suggested = str(error.value).split("'")[-2]
        assert check_decoder(suggested, ITEMS, DIM).kind == "faiss"


def test_without_faiss_one_line_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "faiss":
            raise ImportError("No module named 'faiss'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in ("faiss:Flat", "auto"):
        with pytest.raises(ValueError, match=r'pip install "recsim-drpo\[faiss\]"'):
            check_decoder(name, 10**6, DIM)
    assert check_decoder("exact", 10**6, DIM).kind == "exact"
    assert check_decoder("auto", 1_000, DIM).kind == "exact"


# Indexes that are kept.


def only_folder(indexes):
    (about,) = indexes.rglob(ABOUT)
    return about.parent


def test_an_index_is_built_once(items, indexes, monkeypatch):
    decoder = make_decoder("faiss:IVF8,Flat?nprobe=2", items)
    folder = only_folder(indexes)
    assert json.loads((folder / ABOUT).read_text())["shape"] == [ITEMS, DIM]
    stamp = (folder / INDEX).stat().st_mtime_ns
    monkeypatch.setattr(faiss_decoder, "fill", None)  # building would fail
    again = make_decoder("faiss:IVF8,Flat?nprobe=2", items)
    other = make_decoder("faiss:IVF8,Flat?nprobe=8", items)  # searched in another way
    assert (only_folder(indexes) / INDEX).stat().st_mtime_ns == stamp
    queries = unit(50, seed=3)
    assert torch.equal(again.search(queries)[1], decoder.search(queries)[1])
    assert recall(other, items, queries).all()


def test_settings_are_kept(items, indexes, monkeypatch):
    name = make_decoder("faiss:IVF8,Flat?recall=0.9", items).name
    monkeypatch.setattr(faiss_decoder, "tune", None)
    assert make_decoder("faiss:IVF8,Flat?recall=0.9", items).name == name
    (kept,) = indexes.rglob("recall-0.9.json")
    kept.write_text("[1")
    with pytest.raises(TypeError):  # it is tuned anew
        make_decoder("faiss:IVF8,Flat?recall=0.9", items)


def test_another_catalogue_has_another_index(items, indexes):
    make_decoder("faiss:IVF8,Flat", items)
    make_decoder("faiss:IVF8,Flat", unit(ITEMS, seed=9))
    assert len(list(indexes.rglob(INDEX))) == 2


@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone", "no json", "of another"])
def test_a_damaged_index_is_built_anew(items, indexes, damage):
    make_decoder("faiss:IVF8,Flat?nprobe=8", items)
    folder = only_folder(indexes)
    content = (folder / INDEX).read_bytes()
    about = json.loads((folder / ABOUT).read_text())
    if damage == "truncated":
        (folder / INDEX).write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        (folder / INDEX).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "gone":
        (folder / INDEX).unlink()
    elif damage == "no json":
        (folder / ABOUT).write_text("{")
    else:
        (folder / ABOUT).write_text(json.dumps(about | {"catalogue_checksum": "0" * 64}))
    decoder = make_decoder("faiss:IVF8,Flat?nprobe=8", items)
    assert recall(decoder, items, unit(50, seed=3)).all()
    assert (folder / INDEX).read_bytes() == content
    assert json.loads((folder / ABOUT).read_text()) == about


def test_where_nothing_can_be_kept_a_warning_says_so(items, indexes):
    indexes.write_text("a file where the folder would be")
    with pytest.warns(UserWarning, match="is not kept in .* RECSIM_DRPO_INDEXES names another"):
        decoder = make_decoder("faiss:IVF8,Flat?nprobe=8", items)
    assert recall(decoder, items, unit(20, seed=3)).all()


def test_where_indexes_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("RECSIM_DRPO_INDEXES", str(tmp_path / "a"))
    assert kept_indexes() == tmp_path / "a"
    monkeypatch.delenv("RECSIM_DRPO_INDEXES")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert kept_indexes() == tmp_path / "b" / "recsim_drpo" / "indexes"
    assert kept_folder("c" * 64, "IVF8,Flat").name == "IVF8,Flat"
    # Of factory strings that look alike as names of files.
    assert kept_folder("c" * 64, "IVF8_x").name != kept_folder("c" * 64, "IVF8(x").name


def test_a_named_index_is_used_or_refused(items, tmp_path):
    decoder = make_decoder("faiss:IVF8,Flat?nprobe=8", items)
    folder = tmp_path / "mine"
    write_index(folder, decoder.index, "IVF8,Flat", faiss_decoder.checksum_of(items.numpy()))
    named = make_decoder(f"index:{folder}?nprobe=8", items)
    assert recall(named, items, unit(50, seed=3)).all()
    assert named.name == "faiss:IVF8,Flat?nprobe=8"
    with pytest.raises(ValueError, match=r"is not an integer from 1 to 8"):
        make_decoder(f"index:{folder}?nprobe=9", items)
    with pytest.raises(ValueError, match=r"vectors of shape \(400, 16\); the items' is \(40, 16\)"):
        check_decoder(f"index:{folder}", 40, DIM)
    with pytest.raises(UnusableIndexError, match=r"is of the catalogue .*, not of"):
        make_decoder(f"index:{folder}", unit(ITEMS, seed=9))
    content = (folder / INDEX).read_bytes()
    (folder / INDEX).write_bytes(content[:-100])
    with pytest.raises(UnusableIndexError, match="is truncated, or not as it was written"):
        make_decoder(f"index:{folder}", items)
    assert (folder / INDEX).read_bytes() == content[:-100]  # and left as it is


def test_an_index_that_no_memory_holds_is_not_read(items, indexes, tmp_path, monkeypatch):
    decoder = make_decoder("faiss:Flat", items)
    write_index(tmp_path / "own", decoder.index, "Flat", checksum_of(items.numpy()))
    monkeypatch.setattr(memory, "available_memory", lambda: 2**10)
    with pytest.raises(ValueError, match=r"index in .*own' would take 25.* KiB of memory"):
        make_decoder(f"index:{tmp_path / 'own'}", items)
    with pytest.raises(ValueError, match="would take"):  # kept: neither read nor replaced
        make_decoder("faiss:Flat", items)


def test_items_of_a_read_only_file(indexes):
    vectors = np.array(unit(100))
    vectors.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        items = torch.from_numpy(vectors)
    assert recall(make_decoder("faiss:IVF4,Flat?nprobe=4", items), items, unit(20, seed=1)).all()


# Worlds.


def test_a_world_by_a_decoders_name(indexes, small_kwargs):
    world = make_world(decoder="faiss:IVF8,Flat?nprobe=8", **small_kwargs)
    assert not indexes.exists()  # built when it is first used
    users = world.users("test", 0, torch.arange(100))
    exact = make_world(**small_kwargs)
    assert torch.equal(world.decode(users.interests), exact.decode(users.interests))
    assert world.decoder.name == "faiss:IVF8,Flat?nprobe=8"
    assert make_world(decoder="faiss:IVF8,Flat?nprobe=8", **small_kwargs) is world
    assert make_world(decoder="exact", **small_kwargs) is exact
    sessions = make_sessions(decoder="faiss:IVF8,Flat?nprobe=8", **small_kwargs)
    assert sessions.world is world


def test_a_world_refuses_a_name_that_does_not_fit(indexes, small_kwargs):
    with pytest.raises(ValueError, match="has 301 lists for 300 items"):
        make_world(decoder="faiss:IVF301,Flat", **small_kwargs)
    with pytest.raises(ValueError, match=r"Did you mean 'exact'\?"):
        World(WorldConfig(**small_kwargs), decoder="exakt")
    with pytest.raises(ValueError, match="decoder=7 is no text"):
        World(WorldConfig(**small_kwargs), decoder=7)
