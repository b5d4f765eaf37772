"""The curves of decoders, at a small size: what is measured adds up, and the command writes it."""

import json
from pathlib import Path

import pytest

from recsim_drpo.benchmarks.retrieval import (
    DEFAULT_OUT,
    FAMILIES,
    PICTURE,
    decoders,
    main,
    measure,
    table,
)
from recsim_drpo.simulator.decoder_names import parse_decoder
from recsim_drpo.simulator.retrieval import check_decoder

SMALL = {"num_users": 150, "error": 0.5, "repetitions": 1}


@pytest.mark.parametrize("num_items", [2_000, 100_000, 1_000_000])
def test_every_decoder_fits(indexes, num_items):
    for family in FAMILIES:
        names = decoders(family, num_items, 128)
        assert len(set(names)) == len(names) >= (1 if family == "exact" else 4)
        for name in names:
            assert check_decoder(name, num_items, 128) == parse_decoder(name)


@pytest.mark.parametrize(
    ("num_items", "most"), [(2_000, 64), (100_000, 512), (1_000_000, 512), (10_000_000, 2_048)]
)
def test_the_most_lists_that_are_looked_into(num_items, most):
    for family in ("IVF", "IVF-PQ, re-ranked"):
        assert f"nprobe={most}" in decoders(family, num_items, 128)[-1]


@pytest.mark.parametrize("shape", ["clustered", "isotropic"])
def test_what_is_measured_adds_up(indexes, shape):
    section = measure(2_000, shape, families=("exact", "IVF", "HNSW"), embedding_dim=16, **SMALL)
    rows = section["rows"]
    assert rows[0]["decoder"] == "exact"
    assert rows[0]["recall"]["value"] == 1.0
    assert rows[0]["lost_reward"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    for family in ("IVF", "HNSW"):
        recalls = [row["recall"]["value"] for row in rows if row["family"] == family]
        assert recalls == sorted(recalls)
        assert recalls[-1] > 0.9
    few = next(row for row in rows if row["family"] == "IVF")
    assert few["recall"]["value"] < 0.9
    assert few["lost_reward"]["value"] != 0.0
    # Vectors of 16 floats, and a little more; each index is one file, whatever its settings.
    assert 1.0 < few["index_bytes"] / (2_000 * 16 * 4) < 1.5
    assert len({row["index_bytes"] for row in rows if row["family"] == "IVF"}) == 1
    assert all(row["queries_per_second"] > 0 for row in rows)
    assert not indexes.exists()  # indexes of one's own are left alone
    text = table(section)
    assert f"{few['recall']['value']:.1%}" in text
    assert f"2,000 items, {shape}; 150 users" in text


def test_the_command_writes_numbers_tables_and_a_picture(indexes, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "retrieval.json"
    words = ["--items", "400", "--families", "exact", "IVF", "--num-users", "50", "--out", str(out)]
    main([*words, "--shapes", "clustered"])
    main([*words, "--shapes", "isotropic"])
    sections = json.loads(out.read_text())
    assert list(sections) == ["400, clustered", "400, isotropic"]  # one run adds to the other
    text = out.with_suffix(".md").read_text()
    assert all(table(section) in text for section in sections.values())
    assert "400 items, isotropic; 50 users" in capsys.readouterr().out
    assert out.with_suffix(".png").stat().st_size > 5_000


def test_the_page_tells_what_was_measured():
    root = Path(__file__).parents[2]
    page = (root / "docs/retrieval.md").read_text(encoding="utf-8")
    told = page.partition("<!-- retrieval:begin -->")[2].partition("<!-- retrieval:end -->")[0]
    sections = json.loads((root / DEFAULT_OUT).read_text(encoding="utf-8")).values()
    assert told.strip() == "\n\n".join(table(section) for section in sections)
    assert (root / PICTURE).is_file()
