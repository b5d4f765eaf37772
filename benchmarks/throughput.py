"""Measure speed and memory against peers: ``python -m recsim_drpo.benchmarks.throughput``.

Every measurement stands beside a peer or a roofline that is measured in the same run, turn by turn
with it, so that a busy machine slows both. A ratio is measured ÷ peer, turn by turn; what is told
is the median of the turns, with the smallest and the largest.

Everything follows ``--device``; the peer of scalar environments stays on the CPU, where people run
them.
"""

from __future__ import annotations

import math
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv

from recsim_drpo.agents import make_agent
from recsim_drpo.benchmarks.speed.measuring import (
    DIM,
    OBSERVATION_DIM,
    Goal,
    Line,
    Sgemm,
    in_fresh_process,
    parse_command,
    peak_memory,
    run_sections,
    seconds_per_call,
    unit_rows,
    where,
)
from recsim_drpo.core.torch_settings import threads
from recsim_drpo.datasets.generate import generate_dataset
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.datasets.staging import minari_root
from recsim_drpo.envs.registration import ENV_ID, register
from recsim_drpo.ope.evaluator import OffPolicyEvaluator
from recsim_drpo.ope.logs import read_item_log
from recsim_drpo.simulator.decoder import ExactDecoder
from recsim_drpo.simulator.world import make_world

DEFAULT_OUT = Path("benchmarks/results/throughput.json")
DATASET = "bench/extreme-v0"
_CHUNK = 2**24


@dataclass(frozen=True)
class Sizes:
    """Numbers of things that are measured, and how often.

    Attributes:
        repetitions: turns of everything but generating.
        queries: queries a decode.
        catalogues: numbers of items decoded against.
        num_envs: environments of a vector environment.
        steps: steps of those in a turn; a multiple of 16, since the scalar environment draws its
            users sixteen at a time.
        rounds: rounds generated, and read back.
        many_rounds: rounds generated to see whether memory grows.
        generations: turns of generating ``rounds`` rounds.
        evaluations: turns of off-policy evaluation on as many.
    """

    repetitions: int = 5
    queries: int = 1024
    catalogues: tuple[int, ...] = (5_000, 1_000_000)
    num_envs: int = 1024
    steps: int = 32
    rounds: int = 1_000_000
    many_rounds: int = 5_000_000
    generations: int = 3
    evaluations: int = 3


QUICK = Sizes(
    repetitions=3,
    catalogues=(5_000, 50_000),
    num_envs=64,
    rounds=20_000,
    many_rounds=100_000,
    generations=2,
    evaluations=1,
)


@dataclass(frozen=True)
class Setting:
    """Sizes, device and folder that the sections of a measurement share.

    Attributes:
        sizes: how much is measured.
        device: where the measured side runs.
        folder: temporary folder, on the disk that is measured.
    """

    sizes: Sizes
    device: torch.device
    folder: Path


def decode(setting: Setting) -> list[Line]:
    """Exact decoding against the SGEMM rate, on one thread or on an accelerator."""
    with threads(1):
        sgemm = Sgemm(setting.device)
        return [_decode(setting, sgemm, num_items) for num_items in setting.sizes.catalogues]


def _decode(setting: Setting, sgemm: Sgemm, num_items: int) -> Line:
    sizes, device = setting.sizes, setting.device
    generator = torch.Generator(device).manual_seed(0)
    queries = unit_rows(sizes.queries, DIM, generator)
    decoder = ExactDecoder(unit_rows(num_items, DIM, generator))
    flops = 2.0 * sizes.queries * num_items * DIM
    calls = math.ceil(10 * 5_000 / num_items) * (1 if device.type == "cpu" else 10)
    decoder.search(queries, 1)
    rates, peers = [], []
    for _ in range(sizes.repetitions):
        peers.append(sgemm.rate() / 1e9)
        seconds = seconds_per_call(lambda: decoder.search(queries, 1), calls, device)
        rates.append(flops / seconds / 1e9)
    what = f"decode {sizes.queries:,} × {DIM} of {num_items:,} items, {where(device)}"
    return Line(what, "GFLOP/s", rates, "SGEMM", tuple(peers), Goal(low=0.6))


def vector_env(setting: Setting) -> list[Line]:
    """The native vector environment against Gymnasium's own of as many scalar ones."""
    sizes = setting.sizes
    register()
    with threads(1):
        native = gym.make_vec(
            ENV_ID,
            num_envs=sizes.num_envs,
            vectorization_mode="vector_entry_point",
            device=str(setting.device),
        )
        sync = gym.make_vec(
            ENV_ID,
            num_envs=sizes.num_envs,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        )
        rates: dict[str, list[float]] = {"native": [], "sync": []}
        envs = {"native": native, "sync": sync}
        for env in envs.values():
            env.reset(seed=0)
            _step(env, 16)  # a turn then starts where the scalar environments draw users
        for _ in range(sizes.repetitions):
            for name, env in envs.items():
                seconds = seconds_per_call(partial(_step, env, sizes.steps))
                rates[name].append(sizes.num_envs * sizes.steps / seconds)
        for env in envs.values():
            env.close()
    return [
        Line(
            f"step {sizes.num_envs:,} environments natively, {where(setting.device)}",
            "steps/s",
            rates["native"],
            "sync",
            tuple(rates["sync"]),
            Goal(low=10.0),
        )
    ]


def _step(env: VectorEnv[Any, Any, Any], steps: int) -> None:
    generator = torch.Generator().manual_seed(0)
    actions = (2.0 * torch.rand(env.num_envs, DIM, generator=generator) - 1.0).numpy()
    for _ in range(steps):
        env.step(actions)


def generate(setting: Setting) -> list[Line]:
    """Generating and exporting a log, each time in a process of its own."""
    sizes, device = setting.sizes, str(setting.device)
    computer = f"{torch.get_num_threads()} threads" if device == "cpu" else device
    world = make_world()
    score_flops = 2.0 * world.config.num_topics * world.num_items * sizes.rounds
    sgemm = Sgemm(setting.device)
    jobs, writes, products = [], [], []
    for _ in range(sizes.generations):
        jobs.append(_generate_afresh(_dataset_root(setting), sizes.rounds, device))
        writes.append(_write_seconds(setting.folder, jobs[-1].num_bytes))
        products.append(score_flops / sgemm.rate())
    what = f"generate {sizes.rounds:,} rounds, {computer}"
    seconds, peaks = [job.seconds for job in jobs], [job.peak / 1e9 for job in jobs]
    written = f"write {jobs[0].num_bytes / 1e9:.3g} GB"
    return [
        Line(what, "s", seconds, written, tuple(writes), Goal(high=60.0, unit="s", of_ratio=False)),
        Line(f"{what}: the same", "s", seconds, "SGEMM of the scores", tuple(products)),
        Line(f"{what}: peak memory", "GB", peaks, goal=_memory_goal()),
        *_many_rounds(setting, statistics.median(peaks), jobs[0].num_bytes),
    ]


def _memory_goal() -> Goal:
    return Goal(high=1.5, unit="GB", of_ratio=False)


def _many_rounds(setting: Setting, usual_peak: float, usual_bytes: int) -> list[Line]:
    """Peak memory of a longer log, where the disk has room for it."""
    sizes = setting.sizes
    what = f"generate {sizes.many_rounds:,} rounds"
    needed = 1.1 * usual_bytes * sizes.many_rounds / sizes.rounds
    if shutil.disk_usage(setting.folder).free < needed:
        return [Line(f"{what}: peak memory", "GB", [], f"needs {needed / 1e9:.2g} GB of disk")]
    root = setting.folder / "many"
    job = _generate_afresh(root, sizes.many_rounds, str(setting.device))
    shutil.rmtree(root)
    peak = [job.peak / 1e9]
    return [
        Line(what, "s", [job.seconds]),
        Line(f"{what}: peak memory", "GB", peak, goal=_memory_goal()),
        Line(
            f"{what}: growth of peak memory",
            "GB",
            peak,
            f"{sizes.rounds:,} rounds",
            (usual_peak,),
            Goal(0.9, 1.1),
        ),
    ]


@dataclass(frozen=True)
class _Generation:
    seconds: float
    peak: int
    num_bytes: int


def _generate_afresh(root: Path, num_rounds: int, device: str) -> _Generation:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    seconds, peak = in_fresh_process(_generate_job, str(root), num_rounds, device)
    return _Generation(seconds, peak, _data_file(root).stat().st_size)


def _generate_job(root: str, num_rounds: int, device: str) -> tuple[float, int]:
    with minari_root(root):
        seconds = seconds_per_call(
            lambda: generate_dataset(
                DATASET,
                scenario="extreme",
                num_rounds=num_rounds,
                device=device,
                card=False,
                progress=False,
            )
        )
    return seconds, peak_memory()


def _dataset_root(setting: Setting) -> Path:
    return setting.folder / "datasets"


def _data_file(root: Path) -> Path:
    return root / DATASET / "data" / "main_data.hdf5"


def _write_seconds(folder: Path, num_bytes: int) -> float:
    """Time to bring as many random bytes to the disk, in large pieces."""
    chunk = os.urandom(min(_CHUNK, num_bytes))
    path = folder / "plain"

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            for start in range(0, num_bytes, len(chunk)):
                file.write(chunk[: num_bytes - start])
            os.fsync(file.fileno())

    seconds = seconds_per_call(write)
    path.unlink()
    return seconds


def load(setting: Setting) -> list[Line]:
    """Reading a log back, each time in a process of its own, against reading the file's bytes."""
    sizes, root = setting.sizes, _dataset_root(setting)
    if not _data_file(root).exists():
        _generate_afresh(root, sizes.rounds, str(setting.device))
    device = str(setting.device)
    jobs = [in_fresh_process(_load_job, str(root), device) for _ in range(sizes.repetitions)]
    loads, reads = zip(*jobs, strict=True)
    return [
        Line(
            f"load {sizes.rounds:,} rounds",
            "s",
            list(loads),
            "read the file",
            reads,
            Goal(high=2.0, unit="s", of_ratio=False),
        )
    ]


def _load_job(root: str, device: str) -> tuple[float, float]:
    path = _data_file(Path(root))
    _read_bytes(path)  # into the page cache
    read = seconds_per_call(lambda: _read_bytes(path))
    with minari_root(root):
        return seconds_per_call(lambda: load_transitions(DATASET, device=device)), read


def _read_bytes(path: Path) -> None:
    """Read a file into fresh memory, as a loader has to."""
    view = np.empty(path.stat().st_size, dtype=np.uint8).data
    with path.open("rb", buffering=0) as file:
        done = 0
        while count := file.readinto(view[done : done + _CHUNK]):
            done += count


def off_policy(setting: Setting) -> list[Line]:
    """Off-policy evaluation of one policy, reading and fitting included, in a fresh process."""
    sizes, root = setting.sizes, _dataset_root(setting)
    if not _data_file(root).exists():
        _generate_afresh(root, sizes.rounds, str(setting.device))
    device = str(setting.device)
    jobs = [in_fresh_process(_ope_job, str(root), device) for _ in range(sizes.evaluations)]
    seconds, computed, peaks = (list(column) for column in zip(*jobs, strict=True))
    what = f"ope of one policy on {sizes.rounds:,} rounds"
    return [
        Line(what, "s", seconds, goal=Goal(high=30.0, unit="s", of_ratio=False)),
        Line(f"{what}: processor time", "s", computed),
        Line(f"{what}: peak memory", "GB", peaks, goal=_memory_goal()),
    ]


def _ope_job(root: str, device: str) -> tuple[float, float, float]:
    agent = make_agent("bc", observation_dim=OBSERVATION_DIM, action_dim=DIM, device=device)
    start = time.process_time()
    with minari_root(root):
        seconds = seconds_per_call(
            lambda: OffPolicyEvaluator(read_item_log(DATASET, device=device))(agent)
        )
    return seconds, time.process_time() - start, peak_memory() / 1e9


SECTIONS: dict[str, Callable[[Setting], list[Line]]] = {
    "decode": decode,
    "vector_env": vector_env,
    "generate": generate,
    "load": load,
    "ope": off_policy,
}


def main() -> None:
    """Measure, print the table and write every repetition to a JSON file."""
    command = parse_command(__doc__, DEFAULT_OUT, list(SECTIONS))
    sizes = QUICK if command.quick else Sizes()
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(sizes, command.device, Path(folder))
        run_sections(
            command, sizes, {name: partial(SECTIONS[name], setting) for name in command.only}
        )


if __name__ == "__main__":
    main()
