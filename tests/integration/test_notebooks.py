"""The notebooks: they run from top to bottom, on less, and are committed without outputs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
# The same on less, and what then has to hold of what a reader sees.
LESS = {
    "first_run": (
        ("ROUNDS, STEPS, USERS = 50_000, 1_500, 5_000", "ROUNDS, STEPS, USERS = 8_000, 250, 500"),
        """
assert len(trained) == 9 and len(log) == ROUNDS
assert values["random"].value < values["bc"].value < values["awr"].value < values["oracle"].value
assert values["bc"].value < values["drpo"].value < values["oracle"].value
assert items.shape == (3, 5) and bool((scores.diff(dim=1) <= 0).all())
""",
    ),
    "your_agent_your_log": (
        ("VISITS, STEPS = 10_000, 2_000", "VISITS, STEPS = 10_000, 300"),
        """
assert names == ["better-share keep=1.0", "better-share keep=0.1", "awr"]
# Of values that are known, of independent rounds: their intervals are not far from them.
assert all(e.low - 0.05 < truth < e.high + 0.05 for e, truth in zip(estimates, truths))
assert estimates[1].low > estimates[0].high and truths[1] > truths[0]
assert best is recommenders[int(np.argmax(truths))] or max(truths) < sorted(truths)[1] + 0.05
assert {round(float(p), 3) for p in shown.propensities[:, 0]} <= {0.905, 0.005}
""",
    ),
}


def cells(path: Path, kind: str) -> list[str]:
    book = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == kind]


def test_there_are_two():
    assert [path.stem for path in NOTEBOOKS] == sorted(LESS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_not_committed(path):
    book = json.loads(path.read_text(encoding="utf-8"))
    ran = [c for c in book["cells"] if c.get("outputs") or c.get("execution_count") is not None]
    assert ran == []
    assert len(cells(path, "code")) >= 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#:]+)\)", "\n".join(cells(path, "markdown")))
    assert len(links) >= 3
    for link in links:
        assert (path.parent / link).is_file(), link


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    for name in ("nbclient", "ipykernel"):
        pytest.importorskip(name)
    if path.stem == "your_agent_your_log":
        pytest.importorskip("pyarrow")
    pytest.importorskip("matplotlib")
    import nbclient
    import nbformat

    (large, small), check = LESS[path.stem]
    text = path.read_text(encoding="utf-8")
    assert text.count(large) == 1
    book = nbformat.reads(text.replace(large, small), as_version=4)
    nbformat.validate(book)
    book.cells.append(nbformat.v4.new_code_cell(check))
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "untouched"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of a kernel that shares the machine with others
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    here = tmp_path / "here"
    here.mkdir()
    nbclient.NotebookClient(
        book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(here)}}
    ).execute()
    shown = [out for c in book.cells if c.cell_type == "code" for out in c.outputs]
    assert not any(out.output_type == "error" for out in shown)
    assert sum("image/png" in out.get("data", {}) for out in shown) >= 1
    assert not any(out.get("name") == "stderr" for out in shown), "a warning"
    assert not (tmp_path / "untouched").exists()  # datasets of the reader stay as they are
    assert list(here.iterdir()) == []
