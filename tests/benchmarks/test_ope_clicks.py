from __future__ import annotations

import numpy as np

from recsim_drpo.benchmarks import ope_clicks


def test_answers_cover_what_they_say(monkeypatch):
    monkeypatch.setattr(ope_clicks, "RATES", (0.02,))
    monkeypatch.setattr(ope_clicks, "ROUNDS", (2_000,))
    refused, answers = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in ope_clicks.table().splitlines()[2:]
    )
    assert (refused[1], answers[1]) == ("refused", "answers")
    cells = np.array([float(cell.rstrip("%")) for cell in answers[3:]])
    assert (cells[1::2] > 92.0).all()
