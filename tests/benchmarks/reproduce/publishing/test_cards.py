"""What is in a log."""

from __future__ import annotations

import pytest

from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.benchmarks.reproduce.publishing.cards import cards, definitions
from tests.conftest import SMALL_WORLD


def test_cards_say_what_is_in_a_log():
    log = Condition("extreme", {"random": 0.9, "popularity": 0.05, "expert": 0.05}, SMALL_WORLD)
    (table,) = cards([{"plans": [{"conditions": [log.as_dict()]}, {"name": "without"}]}])
    shares = {row[0]: float(row[1].rstrip("%")) for row in table.rows}
    assert shares == pytest.approx({"random": 90.0, "popularity": 5.0, "expert": 5.0}, abs=1.0)
    values = {row[0]: float(row[2]) for row in table.rows}
    assert values["random"] < values["popularity"] < values["expert"]
    assert "of 200,000 rounds of seed 0" in table.note
    defined = definitions({"name": "table1", "conditions": [log.as_dict()], "seeds": [0, 1]})
    assert defined.rows[0][:5] == ["extreme", "200,000", "90.0%", "5.0%", "5.0%"]
    assert "num_items 300, embedding_dim 16" in defined.rows[0][5]
