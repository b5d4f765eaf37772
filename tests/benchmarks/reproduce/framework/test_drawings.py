"""Pictures read as numbers."""

from __future__ import annotations

import pytest

from recsim_drpo.benchmarks.reproduce.framework.drawings import drawings
from recsim_drpo.reporting import plots


def test_pictures_are_read_as_numbers(tmp_path):
    """What is drawn is what the report's figure has: lines, bands and the scale of axes."""
    pytest.importorskip("matplotlib")
    rows = {"a": [[1.0, 0.5, 1.5], [2.0, 1.5, 2.5]], "b": [[3.0, 2.9, 3.1], [4.0, 3.9, 4.1]]}
    figure, panels = plots.new_panels(2, 1, 6.0, 4.0)
    panels[0][0].set_title("a title")
    panels[0][0].loglog([1.0, 10.0], [2.0, 3.0], "--", color="black", label="line")
    panels[0][0].axhline(2.5, color="red", label="level")
    panels[0][0].set(xlim=(100.0, 1.0), ylabel="force")
    panels[1][0].scatter([2.0, 3.0], [4.0, 5.0], color="blue", label="points")
    panels[1][0].set(xlabel="steps")
    plots.save(figure, tmp_path / "two.svg")
    drawn = plots.sweep(tmp_path / "sweep", [0, 1], rows, "x", "y")
    sweep, above, below = drawings({"sweep": drawn, "two.svg": figure})
    assert [line["name"] for line in sweep["lines"]] == ["a", "b"]
    for line, given in zip(sweep["lines"], rows.values(), strict=True):
        assert line["y"] == [row[0] for row in given]
        corners = {tuple(corner) for corner in line["band"]}
        assert {(k, row[end]) for k, row in enumerate(given) for end in (1, 2)} <= corners
    assert (above["title"], above["x"]) == (
        "two.svg: a title: force",
        {"label": "steps", "log": True, "range": [2.0, 0.0]},  # of the logarithm, inverted
    )
    line, level = above["lines"]
    # Black could not be seen on a dark screen.
    assert (line["x"], line["dash"], line["colour"]) == ([1.0, 10.0], "dash", "#888888")
    assert (level["x"], level["y"], level["colour"]) == ([100.0, 1.0], [2.5, 2.5], "#ff0000")
    assert below["title"].startswith("two.svg: a title")
    (points,) = below["lines"]
    assert (points["x"], points["y"], points["drawn"]) == ([2.0, 3.0], [4.0, 5.0], False)
