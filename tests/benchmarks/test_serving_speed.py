from __future__ import annotations

import pytest

from recsim_drpo.benchmarks.serving_speed import Sizes, serving

for package in ("starlette", "uvicorn", "prometheus_client"):
    pytest.importorskip(package)


@pytest.mark.slow
def test_what_is_measured_adds_up(tmp_path):
    sizes = Sizes(items=(300,), requests=(40,), connections=2, batch=4, repetitions=2)
    lines = {line.what: line for line in serving(sizes, tmp_path)}
    assert len(lines) == 2 + 4 * 3
    assert all(len(line.measured) == 2 and min(line.measured) > 0 for line in lines.values())
    for turn in range(2):
        for title in (
            "1 connection",
            "2 connections",
            "1 connection, 4 contexts a request",
            "2 connections, one by one",
        ):
            p50, p99 = (lines[f"300 items, {title}: p{share}"] for share in (50, 99))
            assert p50.measured[turn] <= p99.measured[turn]
        single = lines["300 items, 1 connection: p50"]
        assert single.measured[turn] > single.peers[turn]  # the web takes time as well
