from __future__ import annotations

import pytest

from recsim_drpo.runs.starting import _check_same


def run(numbers, country, mean):
    context = {
        "numbers": numbers,
        "categories": {"device": [f"device {k}" for k in range(40)], "country": country},
        "coding": {"age": {"mean": mean, "scale": 1.0}},
        "another": "that does not count",
    }
    source = {"dataset": "shop/a-v0", "context": context}
    return {"agent": "bc", "observation_dim": 3, "action_dim": 2, "source": source}


def test_of_codings_that_differ_what_differs_is_shown(tmp_path):
    config = run(["age"], ["de"], 1.5)

    def check(source):
        _check_same(tmp_path, config, "bc", (3, 2), source)

    check(config["source"])
    with pytest.raises(ValueError, match="coding of contexts=") as refused:
        check(run(["age"], ["fr"], 2.5)["source"])
    said = str(refused.value)
    assert "{'categories': {'country': ['de']}, 'coding': {'age': {'mean': 1.5}}}" in said
    assert "{'categories': {'country': ['fr']}, 'coding': {'age': {'mean': 2.5}}}" in said
    with pytest.raises(ValueError, match=r"\{'numbers': \['age'\]\}, .* \{'numbers': \['x'\]\}"):
        check(run(["x"], ["de"], 1.5)["source"])
