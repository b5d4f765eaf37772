"""Time and memory against items and rounds, at small sizes: what is measured and told adds up."""

import json
from pathlib import Path

import pytest

from recsim_drpo.benchmarks import scale
from recsim_drpo.benchmarks.scale import Sizes
from recsim_drpo.benchmarks.scale_growth import draw_growth, read_lines, summary
from recsim_drpo.core.torch_settings import threads

SMALL = Sizes(
    items=(500, 5_000),
    cells=10**6,
    rounds=(130, 260),
    queries=64,
    decoded=(600,),
    graphs=600,
    repetitions=2,
)


def raw(lines):
    return {"some": {"lines": [line.raw() for line in lines]}}


@pytest.fixture(scope="module")
def measured():
    """Lines of what needs no index, measured in this process."""
    with pytest.MonkeyPatch.context() as patch, threads(1):
        patch.setattr(scale, "in_fresh_process", lambda job, *arguments: job(*arguments))
        return [*scale.simulate(SMALL), *scale.memory(SMALL), *scale.environments(SMALL)]


def test_each_catalogue_is_measured_in_every_turn(measured):
    rounds = [line for line in measured if line.what == "simulate rounds, 5,000 items"]
    assert [line.peer for line in rounds] == ["its arithmetic", "before"]
    assert rounds[1].peers == (12_500, 12_500)
    for line in measured:
        assert len(line.measured) in (1, 2), line.what
        assert all(value > 0.0 for value in line.measured)
    memory = [line for line in measured if line.what.endswith("0 rounds, 5,000 items: memory")]
    assert [line.what[:3] for line in memory] == ["130", "260"]
    assert memory[0].ratios == [1.0]
    assert 0.05 < memory[0].measured[0] < 4.0


def test_decoders_are_held_against_exact_search(indexes):
    pytest.importorskip("faiss", exc_type=ImportError)
    with threads(1):
        lines = scale._decode_job(600, SMALL)
    named = {line.what.partition(": ")[2].partition(",")[0]: line for line in lines}
    assert {"exact", "faiss Flat"} <= set(named)
    for name in ("exact", "faiss Flat"):
        assert named[name].what.endswith("recall@1 1.000")
    assert named["faiss Flat"].peer == "exact"
    assert named["faiss Flat"].peers == tuple(named["exact"].measured)


def test_hnswlib_is_given_the_effort_that_it_needs(indexes):
    pytest.importorskip("hnswlib")
    with threads(1):
        lines = scale._decode_job(600, SMALL)
    graph = next(line for line in lines if "hnswlib (M=16, ef=" in line.what)
    assert float(graph.what.rpartition(" ")[2]) >= 0.99
    assert lines[-1].peer == "hnswlib"


def test_the_table_has_the_medians(tmp_path):
    lines = [
        scale.Line("simulate rounds, 5,000 items", "rounds/s", [90.0, 100.0, 300.0],
                   "its arithmetic", (200.0, 200.0, 200.0)),
        scale.Line("simulate rounds, 5,000 items: memory", "GB", [0.25]),
        scale.Line("simulate rounds, 5,000 items", "rounds/s", [90.0, 100.0, 300.0],
                   "before", (12_500.0,) * 3),
        scale.Line("step 256 environments, 5,000 items", "steps/s", [4_000.0], "exact", (3_000.0,)),
        scale.Line("make, 5,000 items", "s", [0.5]),
        scale.Line("simulate rounds, 70,000 items", "rounds/s", [7.0], "its arithmetic", (14.0,)),
    ]  # fmt: skip
    path = tmp_path / "scale.json"
    path.write_text(json.dumps(raw(lines)))
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in summary(read_lines(path)).splitlines()[2:]
    ]
    assert rows == [
        ["5,000", "100", "50%", "12,500", "0.25", "4,000", "3,000", "21,400", "0.5"],
        ["70,000", "7", "50%", "", "", "", "", "", ""],
    ]


@pytest.mark.parametrize("sections", ["simulate", "make", "simulate 130 260 step make"])
def test_the_picture_is_drawn_of_the_sections_in_the_file(measured, tmp_path, sections):
    pytest.importorskip("matplotlib")
    path = tmp_path / "scale.json"
    path.write_text(
        json.dumps(raw([x for x in measured if x.what.startswith(tuple(sections.split()))]))
    )
    (picture,) = draw_growth(path, tmp_path / "growth.png")
    assert picture.stat().st_size > 10_000


def test_the_page_tells_what_was_measured():
    root = Path(__file__).parents[2]
    page = (root / "docs/scale.md").read_text(encoding="utf-8")
    told = page.partition("<!-- scale:begin -->")[2].partition("<!-- scale:end -->")[0]
    assert told.strip() == summary(read_lines(root / scale.DEFAULT_OUT)).strip()
    assert (root / scale.PICTURE).is_file()
