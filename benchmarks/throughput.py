"""Measure speed and memory against peers: ``python -m recsim_drpo.benchmarks.throughput``.

Every measurement stands beside a peer or a roofline that is measured in the same run, turn by turn
with it, so that a busy machine slows both. A ratio is measured ÷ peer, turn by turn; what is told
is the median of the turns, with the smallest and the largest.

Everything follows ``--device``; the peer of scalar environments stays on the CPU, where people run
them, and ``training`` measures the CPU as well.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv

from recsim_drpo.agents.protocol import Agent
from recsim_drpo.agents.registry import make_agent
from recsim_drpo.checks import resolve_device
from recsim_drpo.datasets.generate import generate_dataset
from recsim_drpo.datasets.load import Transitions, load_transitions
from recsim_drpo.decoder import ExactDecoder
from recsim_drpo.envs import ENV_ID, register
from recsim_drpo.runs import versions
from recsim_drpo.tables import markdown_table
from recsim_drpo.threads import threads
from recsim_drpo.world import make_world

DEFAULT_OUT = Path("benchmarks/results/throughput.json")
DATASET = "bench/extreme-v0"
DIM = 128
OBSERVATION_DIM = 10
BATCH_SIZE = 320
_CHUNK = 2**24

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

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
        transitions: transitions that training draws from.
        updates: updates in a turn.
    """

    repetitions: int = 5
    queries: int = 1024
    catalogues: tuple[int, ...] = (5_000, 1_000_000)
    num_envs: int = 1024
    steps: int = 32
    rounds: int = 1_000_000
    many_rounds: int = 5_000_000
    generations: int = 3
    transitions: int = 100_000
    updates: int = 200


QUICK = Sizes(
    repetitions=3,
    catalogues=(5_000, 50_000),
    num_envs=64,
    rounds=20_000,
    many_rounds=100_000,
    generations=2,
    transitions=10_000,
    updates=20,
)


@dataclass(frozen=True)
class Setting:
    """What the sections share.

    Attributes:
        sizes: how much is measured.
        device: where the measured side runs.
        folder: temporary folder, on the disk that is measured.
    """

    sizes: Sizes
    device: torch.device
    folder: Path


@dataclass(frozen=True)
class Goal:
    """The interval [low, high) in which a measurement, or its ratio to the peer, has to lie."""

    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    of_ratio: bool = True

    def reached(self, value: float) -> bool:
        """Whether ``value`` lies in the interval."""
        return self.low <= value < self.high

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if math.isinf(self.high):
            return f"≥ {self.low:g}{unit}"
        if math.isinf(self.low):
            return f"< {self.high:g}{unit}"
        return f"{self.low:g} to {self.high:g}{unit}"


@dataclass(frozen=True)
class Line:
    """One line of the table: what was measured in every turn, and its peer in the same turns.

    Attributes:
        what: what was measured.
        unit: of ``measured`` and of ``peers``.
        measured: one value a turn; none if it was not measured, and ``peer`` then says why.
        peer: name of the peer or roofline.
        peers: one value a turn, or none.
        goal: what is to be reached, if anything is.
    """

    what: str
    unit: str
    measured: list[float]
    peer: str = ""
    peers: tuple[float, ...] = ()
    goal: Goal | None = None

    @property
    def ratios(self) -> list[float]:
        """Measured ÷ peer in every turn; none without a peer."""
        return [a / b for a, b in zip(self.measured, self.peers, strict=False)]

    @property
    def reached(self) -> bool | None:
        """Whether the median reaches the goal; ``None`` where there is nothing to compare."""
        values = self.ratios if self.goal is not None and self.goal.of_ratio else self.measured
        if self.goal is None or not values:
            return None
        return self.goal.reached(statistics.median(values))

    def cells(self) -> list[str]:
        """The line as cells of the table."""
        peer = " ".join(filter(None, (self.peer, spread(self.peers, self.unit))))
        return [
            self.what,
            spread(self.measured, self.unit) or "not measured",
            peer or "–",
            spread(self.ratios) or "–",
            str(self.goal or "–"),
            {True: "yes", False: "no", None: "–"}[self.reached],
        ]

    def raw(self) -> dict[str, Any]:
        """The line with every repetition, for JSON."""
        return asdict(self) | {
            "goal": None if self.goal is None else str(self.goal),
            "ratios": self.ratios,
            "reached": self.reached,
        }


def spread(values: Sequence[float], unit: str = "") -> str:
    """``median (min–max) unit``, or nothing of no values."""
    if not values:
        return ""
    text = f"{number(statistics.median(values))} {unit}".strip()
    if len(values) == 1:
        return text
    return f"{text} ({number(min(values))}–{number(max(values))})"


def number(value: float) -> str:
    """Three significant digits, none dropped before the point."""
    return f"{value:,.0f}" if abs(value) >= 100.0 else f"{value:.3g}"


def seconds_per_call(
    function: Callable[[], object], calls: int = 1, device: torch.device | None = None
) -> float:
    """Mean time of ``calls`` calls in a row, on a device until it is done with them."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(calls):
        function()
    synchronize(device)
    return (time.perf_counter() - start) / calls


def synchronize(device: torch.device | None) -> None:
    """Wait for a device that computes on its own."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


class Sgemm:
    """The roofline of arithmetic: the best rate of square float32 matrix products.

    Args:
        device: where; on a CPU with as many threads as torch has at each call.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        sizes = (1024, 2048) if device.type == "cpu" else (2048, 4096, 8192)
        self._operands = [
            tuple(torch.randn(size, size, device=device) for _ in range(3)) for size in sizes
        ]
        self.rate()  # the first call is slower

    def rate(self) -> float:
        """Flop/s now: the best of the sizes."""
        return max(self._rate(*operands) for operands in self._operands)

    def _rate(self, left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> float:
        flops = 2.0 * len(left) ** 3
        calls = math.ceil((4e9 if self._device.type == "cpu" else 2e11) / flops)
        return flops / seconds_per_call(lambda: torch.mm(left, right, out=out), calls, self._device)


def decode(setting: Setting) -> list[Line]:
    """Exact decoding against the SGEMM rate, on one thread or on an accelerator."""
    with threads(1):
        sgemm = Sgemm(setting.device)
        return [_decode(setting, sgemm, num_items) for num_items in setting.sizes.catalogues]


def _decode(setting: Setting, sgemm: Sgemm, num_items: int) -> Line:
    sizes, device = setting.sizes, setting.device
    generator = torch.Generator(device).manual_seed(0)
    queries = _unit_rows(sizes.queries, generator)
    decoder = ExactDecoder(_unit_rows(num_items, generator))
    flops = 2.0 * sizes.queries * num_items * DIM
    calls = math.ceil(10 * 5_000 / num_items) * (1 if device.type == "cpu" else 10)
    decoder.search(queries, 1)
    rates, peers = [], []
    for _ in range(sizes.repetitions):
        peers.append(sgemm.rate() / 1e9)
        seconds = seconds_per_call(lambda: decoder.search(queries, 1), calls, device)
        rates.append(flops / seconds / 1e9)
    what = f"decode {sizes.queries:,} × {DIM} of {num_items:,} items, {_where(device)}"
    return Line(what, "GFLOP/s", rates, "SGEMM", tuple(peers), Goal(low=0.6))


def _unit_rows(count: int, generator: torch.Generator) -> torch.Tensor:
    rows = torch.randn(count, DIM, generator=generator, device=generator.device)
    return rows.div_(torch.linalg.vector_norm(rows, dim=1, keepdim=True))


def _where(device: torch.device) -> str:
    return "1 thread" if device.type == "cpu" else str(device)


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
            f"step {sizes.num_envs:,} environments natively, {_where(setting.device)}",
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
    where = f"{torch.get_num_threads()} threads" if device == "cpu" else device
    world = make_world()
    score_flops = 2.0 * world.config.num_topics * world.num_items * sizes.rounds
    sgemm = Sgemm(setting.device)
    jobs, writes, products = [], [], []
    for _ in range(sizes.generations):
        jobs.append(_generate_afresh(_dataset_root(setting), sizes.rounds, device))
        writes.append(_write_seconds(setting.folder, jobs[-1].num_bytes))
        products.append(score_flops / sgemm.rate())
    what = f"generate {sizes.rounds:,} rounds, {where}"
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
    os.environ["MINARI_DATASETS_PATH"] = root
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
    os.environ["MINARI_DATASETS_PATH"] = root
    path = _data_file(Path(root))
    _read_bytes(path)  # into the page cache
    read = seconds_per_call(lambda: _read_bytes(path))
    return seconds_per_call(lambda: load_transitions(DATASET, device=device)), read


def _read_bytes(path: Path) -> None:
    """Read a file into fresh memory, as a loader has to."""
    view = np.empty(path.stat().st_size, dtype=np.uint8).data
    with path.open("rb", buffering=0) as file:
        done = 0
        while count := file.readinto(view[done : done + _CHUNK]):
            done += count


def training(setting: Setting) -> list[Line]:
    """Updates of the agents, sampling included, against the SGEMM time of BC's products."""
    devices = [torch.device("cpu")]
    if setting.device.type != "cpu":
        devices.append(setting.device)
    with threads(1):
        return [line for device in devices for line in _training(setting.sizes, device)]


def _training(sizes: Sizes, device: torch.device) -> list[Line]:
    flops = 3 * 2.0 * BATCH_SIZE * (OBSERVATION_DIM * DIM + 2 * DIM * DIM)
    transitions = _random_transitions(sizes.transitions, device)
    sgemm = Sgemm(device)
    agents = {
        name: make_agent(
            name, observation_dim=OBSERVATION_DIM, action_dim=DIM, seed=0, device=device
        )
        for name in ("bc", "drpo")
    }
    measured: dict[str, list[float]] = {name: [] for name in agents}
    floors: list[float] = []
    for agent in agents.values():
        _update(agent, transitions, sizes.updates // 10)
    for _ in range(sizes.repetitions):
        floors.append(1e3 * flops / sgemm.rate())
        for name, agent in agents.items():
            seconds = seconds_per_call(
                partial(_update, agent, transitions, sizes.updates), device=device
            )
            measured[name].append(1e3 * seconds / sizes.updates)
    return [
        Line(
            f"update {name.upper()} on {BATCH_SIZE} transitions, {_where(device)}",
            "ms",
            measured[name],
            "SGEMM of BC",
            tuple(floors),
        )
        for name in agents
    ]


def _random_transitions(count: int, device: torch.device) -> Transitions:
    generator = torch.Generator(device).manual_seed(0)
    return Transitions(
        2.0 * torch.rand(count + 1, OBSERVATION_DIM, generator=generator, device=device) - 1.0,
        torch.arange(count, device=device),
        _unit_rows(count, generator),
        torch.rand(count, generator=generator, device=device),
        torch.ones(count, dtype=torch.bool, device=device),
        {},
    )


def _update(agent: Agent, transitions: Transitions, updates: int) -> None:
    generator = torch.Generator(transitions.device).manual_seed(0)
    for _ in range(updates):
        agent.update(transitions.sample(BATCH_SIZE, generator))


def in_fresh_process(job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``job`` in a new interpreter, whose memory is that of the job alone."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(job, *args, **kwargs).result()


def peak_memory() -> int:
    """The largest resident size of this process so far, in bytes.

    Linux lets a child's ``ru_maxrss`` begin at its parent's, so its own record comes first.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


SECTIONS: dict[str, Callable[[Setting], list[Line]]] = {
    "decode": decode,
    "vector_env": vector_env,
    "generate": generate,
    "load": load,
    "training": training,
}


def cpu_name() -> str:
    """The processor's model, as well as the platform tells it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What the numbers depend on besides the code."""
    return {
        "cpu": cpu_name(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "versions": versions(),
    }


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write the sections that were measured; those that the file has besides stay."""
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(old | report, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Measure, print the table and write every repetition to a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, no file unless --out")
    parser.add_argument("--out", type=Path, help=f"JSON file (default {DEFAULT_OUT})")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), help="sections to measure")
    arguments = parser.parse_args()
    try:
        device = resolve_device(arguments.device)
    except ValueError as error:
        parser.error(str(error))
    sizes = QUICK if arguments.quick else Sizes()
    out = arguments.out or (None if arguments.quick else DEFAULT_OUT)
    machine = describe_machine(device)
    lines: list[Line] = []
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(sizes, device, Path(folder))
        for name in arguments.only or SECTIONS:
            print(f"{name} …", file=sys.stderr, flush=True)
            load_average = os.getloadavg() if hasattr(os, "getloadavg") else None
            measured = SECTIONS[name](setting)
            lines += measured
            report[f"{name} on {device.type}"] = {
                "quick": arguments.quick,
                "sizes": asdict(sizes),
                "machine": machine | {"load_average_before": load_average},
                "lines": [line.raw() for line in measured],
            }
            if out is not None:
                write_report(out, report)
    if arguments.quick:
        print("Quick: small sizes, for which the goals are not meant.\n")
    header = ("what", "measured", "peer or roofline", "ratio", "to reach", "reached")
    print(markdown_table(header, [line.cells() for line in lines]))


if __name__ == "__main__":
    main()
