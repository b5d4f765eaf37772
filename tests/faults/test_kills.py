"""Commands killed at any moment: nothing half-written is seen, and a rerun gives the same.

Half of the kills come at a moment of the time that the command takes, half at one of its operations
on files; a fifth of all in its last 5 %. Nine of ten commands run in forks of a process that has
imported everything, the tenth as it is typed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.faults.conftest import scaled
from tests.faults.sandbox import COLUMNS, SMALL, WORLD, Sandbox, is_below
from tests.faults.warm import Warm

pytestmark = pytest.mark.faults

KILLS = 36
"""Of each command, in the whole campaign."""

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Case:
    """A command that writes.

    Attributes:
        words: of the command line.
        makes: what it makes, each all at once.
        grows: what it makes bit by bit, each file whole: it goes on there when it is run again.
        resume: words to go on by, while one of ``grows`` is there.
        in_place: whether what is there already is no reason to refuse.
        share: of the kills that others get, where it takes long.
    """

    words: Sequence[str]
    makes: tuple[str, ...]
    grows: tuple[str, ...] = ()
    resume: Sequence[str] = ()
    in_place: bool = False
    share: float = 1.0


TRAIN = ["train", "--dataset", "kt/log-v0", "--agent", "drpo", "--seeds", "0", "1", *SMALL]
RUNS = ("new/seed-0", "new/seed-1")
KEPT = {"grows": ("new/unfinished",), "resume": ["train", "--resume", "new"]}
EVERY = ["--checkpoint-every", "3", "--out", "new"]
CASES = {
    "generate": Case(["generate", "kt/new-v0", "--rounds", "900", *WORLD], ("minari/kt/new-v0",)),
    "import": Case(
        ["import", "shop/new-v0", "first.csv", "--items", "items.npz", *COLUMNS],
        ("minari/shop/new-v0",),
    ),
    "append": Case(["import", "shop/log-v0", "second.csv", "--append"], ("minari/shop/log-v0",)),
    "replace": Case(
        ["import", "shop/log-v0", "second.csv", "--items", "items.npz", *COLUMNS, "--replace"],
        ("minari/shop/log-v0",),
    ),
    "train": Case([*TRAIN, "--fleet-size", "1", "--out", "new"], RUNS),
    "train a fleet": Case([*TRAIN, "--out", "new"], RUNS),
    "train with checkpoints": Case([*TRAIN, "--fleet-size", "1", *EVERY], RUNS, **KEPT),
    "train a fleet with checkpoints": Case([*TRAIN, *EVERY], RUNS, **KEPT),
    "evaluate": Case(["evaluate", "runs", "--num-users", "200", "--out", "new"], ("new",)),
    "ope": Case(["ope", "shop", "--dataset", "shop/log-v0", "--out", "new"], ("new",)),
    "compare": Case(["compare", "shop/log-v0", "shop/later-v0", "--out", "new"], ("new",)),
    "recommend": Case(
        ["recommend", "shop", "-k", "2", "--contexts", "contexts.csv", "--out", "new.csv"],
        ("new.csv", "new.csv.refused.csv"),
    ),
    "export": Case(["export", "shop", "--out", "new"], ("new",)),
    "reproduce": Case(
        ["reproduce", "table2", "--quick", "--processes", "1", "--seeds", "1", "--out", "new"],
        (),
        grows=("new",),
    ),
    "demo": Case(
        ["demo", "--out", "new", "--rounds", "300", "--steps", "6", "--seeds", "0", *WORLD],
        ("new",),
        in_place=True,
        share=0.25,
    ),
    "publish": Case(
        ["publish", "full", "--root", "checkout"],
        tuple(
            f"checkout/{made}"
            for made in (
                "README.md",
                "docs/claims.md",
                "docs/reproduction.md",
                "docs/when_to_filter.md",
                *(f"docs/images/reproduce/table2.{kind}" for kind in ("png", "svg")),
                "benchmarks/results/reproduce/table2.json",
            )
        ),
        in_place=True,
    ),
    "report": Case(["report", "--results", "results", "--out", "new.html"], ("new.html",)),
}


@pytest.fixture(params=sorted(CASES))
def killed(request: pytest.FixtureRequest, warm: Warm, sandbox: Sandbox) -> Killed:
    return Killed(CASES[request.param], warm, sandbox)


class Killed:
    """A command, what it leaves if nobody kills it, and how long that takes."""

    def __init__(self, case: Case, warm: Warm, sandbox: Sandbox) -> None:
        self.case, self.warm, self.sandbox = case, warm, sandbox
        sandbox.reset()
        self.before = sandbox.seen()
        for learn in (True, False):
            sandbox.reset()
            answer = warm(list(case.words), sandbox.folder, learn=learn)
            assert answer["status"] == 0, answer["said"]
        self.after = sandbox.seen()
        assert sandbox.staged() == []
        self.seconds, self.events = answer["seconds"], answer["events"]

    def kill(self, number: int, share: float, *, by_operation: bool) -> dict[str, Any]:
        """Kill it at a share of its way; gives the answer of :func:`.warm.answer`."""
        self.sandbox.reset()
        when: dict[str, float] = {"seconds": share * self.seconds}
        if by_operation:
            when = {"event": 1 + min(int(share * self.events), self.events - 1)}
        return self.warm(list(self.case.words), self.sandbox.folder, signal=number, **when)

    def check_what_is_seen(self) -> None:
        """What it makes is not there, or as before, or whole; all else is as it was."""
        seen, case = self.sandbox.seen(), self.case
        for made in case.makes:
            states = [
                {path: one for path, one in state.items() if is_below(path, (made,))}
                for state in (seen, self.before, self.after)
            ]
            assert states[0] in states[1:], made
        ours = (*case.makes, *case.grows)
        parents = {f"{parent}/" for made in ours for parent in Path(made).parents}
        for path, content in seen.items():
            if is_below(path, case.grows):
                assert self.after.get(path, content) == content, path
            elif not is_below(path, ours) and path not in parents:
                metadata = path.endswith("namespace_metadata.json")  # Minari's, of a new namespace
                assert metadata or self.before.get(path) == content, path
        assert self.before.keys() <= seen.keys() | {
            path for path in self.before if is_below(path, ours)
        }
        assert set(self.sandbox.datasets()) <= {
            str(Path(path).parent.relative_to("minari"))
            for state in (self.before, self.after)
            for path in state
            if path.startswith("minari/") and path.endswith("/data/")
        }

    def run_again(self) -> None:
        """Run it again, as a user would: what is seen then is the same, and nothing is stale."""
        case, folder = self.case, self.sandbox.folder
        words = list(case.words)
        if case.resume and (folder / case.grows[0]).exists():
            words = list(case.resume)
        elif case.words[0] == "import" and self.sandbox.seen() == self.after:
            return  # it was done; appended again it would be there twice
        elif not case.in_place:
            for made in case.makes:  # what is whole is refused; all the same it is made anew
                if not made.startswith("minari/shop/log"):
                    shutil.rmtree(folder / made, ignore_errors=True)
                    (folder / made).unlink(missing_ok=True)
        answer = self.warm(words, folder)
        assert answer["status"] == 0, answer["said"]
        assert self.sandbox.seen() == self.after
        assert self.sandbox.staged() == []


def moments(kills: int, name: str) -> Iterator[tuple[int, float, bool]]:
    """Signals and shares of the way, spread over all of it; every fifth in the last 5 %."""
    generator = np.random.default_rng([ord(letter) for letter in name])
    for number in range(kills):
        late = number % 5 == 4
        share = generator.uniform(0.95, 1.0) if late else (number + generator.uniform()) / kills
        yield SIGNALS[number % len(SIGNALS)], float(share), number % 2 == 0


def test_killed_at_any_moment_nothing_half_written_is_seen_and_a_rerun_gives_the_same(
    killed: Killed, request: pytest.FixtureRequest
) -> None:
    kills = scaled(max(1, round(KILLS * killed.case.share)))
    for number, share, by_operation in moments(kills, request.node.name):
        answer = killed.kill(number, share, by_operation=by_operation)
        assert answer["status"] in (0, -number, 128 + number), answer["said"]
        if number != signal.SIGKILL:  # what was not complete is gone
            assert "Traceback" not in answer["said"], answer["said"]
            left = [path for path in killed.sandbox.staged() if path.endswith(".partial")]
            assert left == [], (number, share, by_operation)
        killed.check_what_is_seen()
        killed.run_again()


def test_killed_as_it_is_typed(killed: Killed, request: pytest.FixtureRequest) -> None:
    if killed.case.words[0] == "reproduce":
        pytest.skip("it takes minutes: small ones are in the test above")
    words = list(killed.case.words)
    command = [sys.executable, "-m", "recsim_drpo.cli", *words]
    if words[0] == "publish":
        command[2:4] = ["recsim_drpo.benchmarks.reproduce.publish"]
    env = os.environ | {
        "MINARI_DATASETS_PATH": str(killed.sandbox.folder / "minari"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    seconds = 0.0
    for number, share, _ in [(0, 1.0, False), *moments(scaled(KILLS // 9), request.node.name)]:
        killed.sandbox.reset()
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=killed.sandbox.folder,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if number:
            try:
                process.wait(share * seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
        said = process.communicate()[1]
        seconds = seconds or time.monotonic() - started
        assert process.returncode in (0, -number, 128 + number), said
        assert number == signal.SIGKILL or "Traceback" not in said, said
        killed.check_what_is_seen()
        killed.run_again()
