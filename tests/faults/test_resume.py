"""What is killed, gone on with, killed again and gone on with is as if nobody had stopped it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
import pytest

from recsim_drpo.agents.builtin import BUILT_IN
from recsim_drpo.benchmarks.reproduce.runner import EXPERIMENTS
from recsim_drpo.core.files import sweep
from tests.faults.conftest import scaled
from tests.faults.sandbox import SMALL, Sandbox
from tests.faults.warm import Warm

pytestmark = pytest.mark.faults

ROUNDS = 3
"""Times that each is made with kills on its way."""


def killed_and_gone_on_with(
    warm: Warm,
    sandbox: Sandbox,
    words: list[str],
    resume: list[str],
    name: str,
    rounds: int = ROUNDS,
) -> Iterator[None]:
    """Make it through; then some times killed twice on its way; each time the same is seen."""
    sandbox.reset()
    answer = warm(words, sandbox.folder, learn=True)
    assert answer["status"] == 0, answer["said"]
    through, events = sandbox.seen(), answer["events"]
    generator = np.random.default_rng([ord(letter) for letter in name])
    for _ in range(scaled(rounds)):
        sandbox.reset()
        for _ in range(2):
            begun = (
                resume
                if (sandbox.folder / "new" / "unfinished" / "training.json").exists()
                else words
            )
            if (sandbox.folder / "new" / "seed-0").exists() and begun is words:
                break  # it was done
            event = int(generator.integers(1, events + 1))
            warm(begun, sandbox.folder, signal=signal.SIGKILL, event=event)
        begun = (
            resume if (sandbox.folder / "new" / "unfinished" / "training.json").exists() else words
        )
        if begun is resume or not (sandbox.folder / "new" / "seed-0").exists():
            answer = warm(begun, sandbox.folder)
            assert answer["status"] == 0, answer["said"]
        sweep(sandbox.folder / "new")  # of one that was killed when all was done
        yield
        assert sandbox.seen() == through
        assert sandbox.staged() == []


@pytest.mark.parametrize("fleet", ["1", "2"])
@pytest.mark.parametrize("agent", sorted(BUILT_IN))
def test_a_training(warm, sandbox, agent, fleet):
    words = ["train", "--dataset", "kt/log-v0", "--agent", agent, "--seeds", "0", "1", *SMALL]
    words += ["--fleet-size", fleet, "--checkpoint-every", "3", "--out", "new"]
    resume = ["train", "--resume", "new"]
    for _ in killed_and_gone_on_with(warm, sandbox, words, resume, f"{agent} {fleet}"):
        runs = [path.name for path in (sandbox.folder / "new").iterdir()]
        assert sorted(runs) == ["seed-0", "seed-1"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment(warm, sandbox, name):
    words = ["reproduce", name, "--quick", "--processes", "1", "--out", "new"]
    words += ["--seeds", "1"] if EXPERIMENTS[name].seeded else []
    for _ in killed_and_gone_on_with(warm, sandbox, words, words, name, rounds=2):
        assert (sandbox.folder / "new" / name / "result.json").is_file()
