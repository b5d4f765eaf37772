"""Lines of the table, clocks, rooflines and the command that all measurements of speed share.

Every measurement stands beside a peer or a roofline that is measured in the same run, turn by turn
with it, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch

from recsim_drpo.core.provenance import versions
from recsim_drpo.core.torch_settings import resolve_device
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.reporting.tables import markdown_table

DIM = 128
OBSERVATION_DIM = 10
BATCH_SIZE = 320

P = ParamSpec("P")
T = TypeVar("T")


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
        speed: whether the ratio is peer ÷ measured, for times: how many times as fast.
    """

    what: str
    unit: str
    measured: list[float]
    peer: str = ""
    peers: tuple[float, ...] = ()
    goal: Goal | None = None
    speed: bool = False

    @property
    def ratios(self) -> list[float]:
        """Measured ÷ peer, or the reverse, in every turn; none without a peer."""
        turns = zip(self.measured, self.peers, strict=False)
        return [b / a if self.speed else a / b for a, b in turns]

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
            spread(self.ratios, "× as fast" if self.speed else "") or "–",
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


def unit_rows(count: int, dim: int, generator: torch.Generator) -> torch.Tensor:
    """Rows uniform on the sphere, on the generator's device."""
    rows = torch.randn(count, dim, generator=generator, device=generator.device)
    return rows.div_(torch.linalg.vector_norm(rows, dim=1, keepdim=True))


def random_transitions(count: int, device: torch.device, infos: Sequence[str] = ()) -> Transitions:
    """A synthetic log, every transition terminal, with info columns in [0.05, 1) of these names."""
    generator = torch.Generator(device).manual_seed(0)
    return Transitions(
        2.0 * torch.rand(count + 1, OBSERVATION_DIM, generator=generator, device=device) - 1.0,
        torch.arange(count, device=device),
        unit_rows(count, DIM, generator),
        torch.rand(count, generator=generator, device=device),
        torch.ones(count, dtype=torch.bool, device=device),
        {
            name: 0.05 + 0.95 * torch.rand(count, generator=generator, device=device)
            for name in infos
        },
    )


def where(device: torch.device) -> str:
    """The device in words, as lines of the table have it: ``1 thread``, ``cuda``."""
    return "1 thread" if device.type == "cpu" else str(device)


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set environment variables for a while, also for processes begun meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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


def cpu_name() -> str:
    """The processor's model, as well as the platform tells it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Processor, threads, arithmetic and versions, on which times depend besides the code."""
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


@dataclass(frozen=True)
class Command:
    """Options of a command line that measures.

    Attributes:
        device: to measure.
        quick: whether small sizes are enough.
        out: JSON file, if any.
        only: names of sections.
    """

    device: torch.device
    quick: bool
    out: Path | None
    only: list[str]


def parse_command(description: str | None, default_out: Path, sections: Sequence[str]) -> Command:
    """The options that a module which measures was called with; exits where they are wrong."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, no file unless --out")
    parser.add_argument("--out", type=Path, help=f"JSON file (default {default_out})")
    parser.add_argument("--only", nargs="+", choices=sections, help="sections to measure")
    arguments = parser.parse_args()
    try:
        device = resolve_device(arguments.device)
    except ValueError as error:
        parser.error(str(error))
    out = arguments.out or (None if arguments.quick else default_out)
    return Command(device, arguments.quick, out, arguments.only or list(sections))


def run_sections(
    command: Command, sizes: Any, sections: Mapping[str, Callable[[], list[Line]]]
) -> None:
    """Measure, write every repetition as soon as it is known, and print the table."""
    machine = describe_machine(command.device)
    lines: list[Line] = []
    report: dict[str, Any] = {}
    for name, section in sections.items():
        print(f"{name} …", file=sys.stderr, flush=True)
        load_average = os.getloadavg() if hasattr(os, "getloadavg") else None
        measured = section()
        lines += measured
        report[f"{name} on {command.device.type}"] = {
            "quick": command.quick,
            "sizes": asdict(sizes),
            "machine": machine | {"load_average_before": load_average},
            "lines": [line.raw() for line in measured],
        }
        if command.out is not None:
            write_report(command.out, report)
    if command.quick:
        print("Quick: small sizes, for which the goals are not meant.\n")
    header = ("what", "measured", "peer or roofline", "ratio", "to reach", "reached")
    print(markdown_table(header, [line.cells() for line in lines]))
