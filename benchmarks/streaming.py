"""Measure logs in little memory: ``python -m recsim_drpo.benchmarks.streaming``.

Three things, on one core: drawing batches of a log whose actions are held as ids, against one that
holds them; BC on a log that is streamed, against the same in memory; and the memory that streaming
takes, of a log and of a longer one.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.benchmarks.speed.measuring import (
    Goal,
    Line,
    in_fresh_process,
    parse_command,
    peak_memory,
    run_sections,
    seconds_per_call,
)
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.datasets.generate import generate_dataset
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.datasets.staging import minari_root
from recsim_drpo.datasets.stream import StreamedLog
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import train_fleet

DEFAULT_OUT = Path("benchmarks/results/streaming.json")
_SHORT, _LONG = "bench/short-v0", "bench/long-v0"
_BATCHES = (256, 1_024)
_CALLS = 300


@dataclass(frozen=True)
class Sizes:
    """Numbers of things that are measured, and how often.

    Attributes:
        rounds: of the log.
        short_rounds: of the log that shows whether memory grows.
        radius: shuffle radius.
        steps: updates of BC, of 320 transitions.
        repetitions: turns.
    """

    rounds: int = 1_000_000
    short_rounds: int = 200_000
    radius: int = 50_000
    steps: int = 3_125
    repetitions: int = 3


QUICK = Sizes(rounds=60_000, short_rounds=30_000, radius=10_000, steps=100, repetitions=2)


def drawing(sizes: Sizes, root: Path) -> list[Line]:
    """Lines on drawing batches by ids of items, against the actions themselves."""
    found = in_fresh_process(_draw_job, str(root), sizes.repetitions)
    return [
        Line(
            f"draw {size:,} of {sizes.rounds:,} rounds, by ids",
            "µs",
            [1e6 * turn[0] for turn in turns],
            "actions held",
            tuple(1e6 * turn[1] for turn in turns),
            Goal(low=1.0),
            speed=True,
        )
        for size, turns in found.items()
    ]


def _draw_job(root: str, repetitions: int) -> dict[int, list[list[float]]]:
    """Seconds a batch by ids and of actions, by size of batch and turn."""
    _on_one_core()
    with minari_root(root):
        logs = [load_transitions(_LONG, compact=compact) for compact in (True, False)]
    found: dict[int, list[list[float]]] = {}
    for size in _BATCHES:
        generator = torch.Generator().manual_seed(size)
        drawn = [torch.randint(len(logs[0]), (size,), generator=generator) for _ in range(_CALLS)]
        turns = range(repetitions + 1)
        found[size] = [[_seconds_to_draw(log, drawn) for log in logs] for _ in turns][1:]
    return found


def _seconds_to_draw(log: Transitions, drawn: list[torch.Tensor]) -> float:
    return seconds_per_call(lambda: [log.take(indices) for indices in drawn]) / len(drawn)


def learning(sizes: Sizes, root: Path) -> list[Line]:
    """Lines on BC of a streamed log, against the same log in memory, by clock and by processor."""
    turns = in_fresh_process(_learn_job, str(root), sizes)
    what = f"BC, {sizes.rounds:,} rounds streamed, radius {sizes.radius:,}"
    return [
        Line(
            f"{what}{by}",
            "updates/s",
            [sizes.steps / streamed[k] for _, streamed in turns],
            "in memory",
            tuple(sizes.steps / held[k] for held, _ in turns),
            Goal(low=0.8),
        )
        for k, by in enumerate(("", ", processor time"))
    ]


def _learn_job(root: str, sizes: Sizes) -> list[list[tuple[float, float]]]:
    """Seconds and processor time of a training in memory and of one that is streamed, by turn."""
    _on_one_core()
    with minari_root(root):
        logs: list[Transitions | StreamedLog] = [
            load_transitions(_LONG),
            StreamedLog(_LONG, radius=sizes.radius),
        ]
        return [
            [_seconds_to_learn(log, sizes.steps) for log in logs] for _ in range(sizes.repetitions)
        ]


def _seconds_to_learn(log: Transitions | StreamedLog, steps: int) -> tuple[float, float]:
    start = time.process_time()
    seconds = seconds_per_call(partial(_learn, log, steps))
    return seconds, time.process_time() - start


def _learn(log: Transitions | StreamedLog, steps: int) -> None:
    fleet = Fleet("bc", seeds=[0], observation_dim=log.observation_dim, action_dim=log.action_dim)
    train_fleet(fleet, log, TrainingConfig(steps, log_every=steps), progress=False)


def memory(sizes: Sizes, root: Path) -> list[Line]:
    """Lines on what streaming and loading add to the memory of a process, actions held."""
    streamed, short, held = (
        [in_fresh_process(job, str(root), *options) / 1e6 for _ in range(sizes.repetitions)]
        for job, options in (
            (_stream_memory_job, (_LONG, sizes)),
            (_stream_memory_job, (_SHORT, sizes)),
            (_load_memory_job, (_LONG,)),
        )
    )
    what = f"stream {sizes.rounds:,} rounds, radius {sizes.radius:,}: memory"
    grows = Goal(high=1.1)
    return [
        Line(what, "MB", streamed, f"{sizes.short_rounds:,} rounds", tuple(short), grows),
        Line(what, "MB", streamed, "in memory", tuple(held), Goal(high=0.2)),
    ]


def _stream_memory_job(root: str, name: str, sizes: Sizes) -> int:
    """Bytes that BC adds for an epoch of a log that is streamed."""
    _on_one_core()
    with minari_root(root):
        _learn(load_transitions(_SHORT), 10)
        before = peak_memory()
        log = StreamedLog(name, radius=sizes.radius, compact=False)
        _learn(log, -(-len(log) // TrainingConfig().batch_size))
    return peak_memory() - before


def _load_memory_job(root: str, name: str) -> int:
    """Bytes that BC adds for a log in memory."""
    _on_one_core()
    with minari_root(root):
        _learn(load_transitions(_SHORT), 10)
        before = peak_memory()
        _learn(load_transitions(name, compact=False), 10)
    return peak_memory() - before


def _on_one_core() -> None:
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):  # where the system knows it
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def main() -> None:
    """Measure, print the table and write every repetition to a JSON file."""
    sections = {"draw": drawing, "learn": learning, "memory": memory}
    command = parse_command(__doc__, DEFAULT_OUT, list(sections))
    sizes = QUICK if command.quick else Sizes()
    with tempfile.TemporaryDirectory() as folder:
        with minari_root(folder):
            for name, rounds in ((_SHORT, sizes.short_rounds), (_LONG, sizes.rounds)):
                generate_dataset(
                    name, scenario="extreme", num_rounds=rounds, card=False, progress=False
                )
        jobs = {name: partial(sections[name], sizes, Path(folder)) for name in command.only}
        run_sections(command, sizes, jobs)


if __name__ == "__main__":
    main()
