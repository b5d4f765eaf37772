"""What describes an update: all that it is of, and nothing where that is not known."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from recsim_drpo.agents.algorithms.bc import BC, BCConfig
from recsim_drpo.agents.algorithms.iql import IQL, IQLConfig
from recsim_drpo.agents.engine import sources
from recsim_drpo.agents.engine.sources import described
from recsim_drpo.agents.registry import ALGORITHMS


def of_bc(config=None, batched=True, varied=(), columns=()):
    return described(BC, config or BCConfig(), batched, varied, columns)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_agent_of_this_package_is_described(name):
    algorithm = ALGORITHMS[name]
    text = described(algorithm, algorithm.config(), True, [], [])
    assert text is not None
    assert text == described(algorithm, algorithm.config(), True, [], [])


def test_whatever_changes_the_computation_changes_the_description():
    texts = [
        of_bc(),
        of_bc(BCConfig(learning_rate=1e-3)),
        of_bc(BCConfig(sigma="fixed")),
        of_bc(batched=False),
        of_bc(varied=["learning_rate"]),
        of_bc(columns=["propensity"]),
        described(IQL, IQLConfig(), True, [], []),
        described(IQL, IQLConfig(), True, [], [], terminal=True),
    ]
    assert None not in texts
    assert len({*texts}) == len(texts)


def test_values_that_learners_do_not_share_are_no_part_of_it():
    one, other = (BCConfig(learning_rate=rate) for rate in (1e-3, 1e-4))
    assert of_bc(one, varied=["learning_rate"]) == of_bc(other, varied=["learning_rate"])


def own_loss(*arguments):
    return BC.loss(*arguments)


@pytest.mark.parametrize("loss", [own_loss, partial(BC.loss), lambda *given: BC.loss(*given)])
def test_code_from_elsewhere_is_not_described(loss):
    assert described(replace(BC, loss=loss), BCConfig(), True, [], []) is None


def test_a_function_put_in_place_of_the_written_one_is_not_described(monkeypatch):
    monkeypatch.setattr("recsim_drpo.agents.algorithms.bc.loss", own_loss)
    assert of_bc() is None


def test_code_edited_since_the_process_began_is_not_described(monkeypatch, tmp_path):
    package = tmp_path / "package"
    for part in ("agents", "core"):
        (package / part).mkdir(parents=True)
    file = package / "core" / "one.py"
    file.write_text("A = 1")
    written = file.stat().st_mtime
    monkeypatch.setattr(sources, "_PACKAGE", package)
    monkeypatch.setattr(sources, "_IMPORTED", written + 1.0)
    before = of_bc()
    file.write_text("A = 2")
    monkeypatch.setattr(sources, "_IMPORTED", file.stat().st_mtime + 1.0)
    after = of_bc()
    assert None not in (before, after)
    assert before != after
    monkeypatch.setattr(sources, "_IMPORTED", file.stat().st_mtime - 1.0)
    assert of_bc() is None
