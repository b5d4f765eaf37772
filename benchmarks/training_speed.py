"""Measure training against peers: ``python -m recsim_drpo.benchmarks.training_speed``.

Milliseconds for one update of one learner, sampling included: a Gaussian policy of 2 × 128 hidden
units, 10 observations, 128 actions, 320 transitions a batch out of a log of 100,000, all terminal.
Peers (d3rlpy, JAX; the extra ``benchmarks``) are measured in the same run, turn by turn with us.

On the CPU everything runs on one thread that stays on one core. With ``--device cuda`` other
questions are asked: how near a large fleet comes to what the device can do, how long ten thousand
runs take, and what a CUDA graph saves.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch

from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.benchmarks.speed import d3rlpy_peer, jax_peer
from recsim_drpo.benchmarks.speed.contenders import (
    QUICK,
    Contender,
    Setting,
    Sizes,
    own_fleet,
    own_learner,
    race,
    search,
    take_turns,
)
from recsim_drpo.benchmarks.speed.measuring import (
    BATCH_SIZE,
    DIM,
    OBSERVATION_DIM,
    Goal,
    Line,
    Sgemm,
    environment,
    in_fresh_process,
    parse_command,
    random_transitions,
    run_sections,
    seconds_per_call,
    where,
)
from recsim_drpo.benchmarks.speed.roofline import Roofline, counted_flops, measure_roofline
from recsim_drpo.benchmarks.speed.starting import seconds_to_first_update
from recsim_drpo.core.torch_settings import matrix_precision
from recsim_drpo.core.transitions import Batch, Transitions
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import train_fleet

DEFAULT_OUT = Path("benchmarks/results/training_speed.json")
LAYERS = (OBSERVATION_DIM, 128, 128, DIM)
RUNS, STEPS = 10_000, 5_000
PATIENCE = 600.0
"""Seconds that all the runs may take before they are extrapolated from some."""

T = TypeVar("T")


def on_one_core(function: Callable[..., T], *args: Any) -> T:
    """Call a function in a process of its own, which stays on one core with one thread."""
    # Before the process begins: XLA reads them once.
    with environment(XLA_FLAGS="--xla_cpu_multi_thread_eigen=false", JAX_PLATFORMS="cpu"):
        return in_fresh_process(_pinned, function, *args)


def _pinned(function: Callable[..., T], *args: Any) -> T:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    return function(*args)


def peers(setting: Setting) -> list[Line]:
    """The best fleet of ours against d3rlpy, JAX and the time of the products alone."""
    return [line for agent in jax_peer.AGENTS for line in on_one_core(_peers, setting, agent)]


def _peers(setting: Setting, agent: str) -> list[Line]:
    sizes, label = setting.sizes, agent.upper()
    log = random_transitions(sizes.transitions, setting.device)
    candidates = {
        f"fleet of {size}, {execution}": partial(
            own_fleet, setting, agent, size, execution, sizes.updates
        )
        for size in sizes.fleets
        for execution in ("eager", "compile")
    }
    ours, searched = search(candidates, sizes.search_turns)
    contenders = {name: candidates[name]() for name in ours}
    theirs_of_jax: list[str] = []
    if jax_peer.available():
        jax_fleets = _jax_fleets(setting, agent, log.as_batch())
        theirs_of_jax, jax_searched = search(jax_fleets, sizes.search_turns)
        contenders |= {name: jax_fleets[name]() for name in theirs_of_jax}
        searched |= jax_searched
    contenders |= _d3rlpy_contenders(setting, agent, log.as_batch())
    measured = _beside_floors(setting, agent, log, contenders)

    def quickest(names: Sequence[str]) -> str:
        return min(names, key=lambda name: statistics.median(measured[name]))

    best = quickest(ours)
    jax_name = quickest(theirs_of_jax) if theirs_of_jax else "JAX: not installed, skipped"
    d3rlpy_name = f"d3rlpy: not installed, or without {label}"
    if "d3rlpy" in contenders:
        d3rlpy_name = f"d3rlpy {version('d3rlpy')} fit"

    def against(side: str, name: str, goal: Goal | None = None) -> Line:
        what, theirs = f"{label}, {best}, 1 core", tuple(measured.get(side, ()))
        return Line(what, "ms", measured[best], name, theirs, goal, speed=True)

    return [
        against("d3rlpy", d3rlpy_name, Goal(low=5.0)),
        against("update", f"{d3rlpy_name}, without drawing"),
        against(jax_name, jax_name, Goal(low=1.1)),
        against("floor", "SGEMM of its products"),
        against("exact floor", "SGEMM of its products, as we set it"),
        *(Line(f"{label}, {name}, 1 core", "ms", times) for name, times in searched.items()),
    ]


def _d3rlpy_contenders(setting: Setting, agent: str, log: Batch) -> dict[str, Contender]:
    """d3rlpy's ``fit``, and its updates on a batch drawn before; none where it has none."""
    if not d3rlpy_peer.available() or agent not in d3rlpy_peer.AGENTS:
        return {}
    updates = setting.sizes.peer_updates
    peer = d3rlpy_peer.D3rlpyTraining(agent, log, BATCH_SIZE, updates)
    return {
        "d3rlpy": Contender(peer.run, updates, setting.device),
        "update": Contender(peer.run_without_drawing, updates, setting.device),
    }


def _beside_floors(
    setting: Setting, agent: str, log: Transitions, contenders: Mapping[str, Contender]
) -> dict[str, list[float]]:
    """Milliseconds of each contender and of an update's products alone, turn by turn."""
    for contender in contenders.values():
        contender.run()
    flops, sgemm = counted_flops(agent, log, BATCH_SIZE), Sgemm(setting.device)

    def floor() -> float:
        return 1e3 * flops / sgemm.rate()

    def exact_floor() -> float:
        with matrix_precision("float32", setting.device):
            return floor()

    sides = {name: contender.milliseconds for name, contender in contenders.items()}
    return take_turns(
        sides | {"floor": floor, "exact floor": exact_floor}, setting.sizes.repetitions
    )


def _jax_fleets(setting: Setting, agent: str, log: Batch) -> dict[str, Callable[[], Contender]]:
    """JAX's fleets by name, once it is clear that they compute the same."""
    if jax_peer.disagreement(agent) > 1e-4:
        raise RuntimeError(f"{agent} in JAX is another computation: there is no comparing.")

    def make(size: int) -> Contender:
        steps = max(1, setting.sizes.updates // size)
        fleet = jax_peer.JaxFleet(agent, size, log, BATCH_SIZE, steps)
        return Contender(fleet.run, size * steps, setting.device)

    return {f"JAX {version('jax')} fleet of {n}": partial(make, n) for n in setting.sizes.fleets}


def agents(setting: Setting) -> list[Line]:
    """Every agent in a fleet of one size, eager and compiled; and what DRPO costs beside BC."""
    return on_one_core(_agents, setting)


def _agents(setting: Setting) -> list[Line]:
    sizes = setting.sizes
    lines: list[Line] = []
    quickest: dict[str, str] = {}
    for agent in sizes.agents:
        make = partial(own_fleet, setting, agent, sizes.fleet, updates=sizes.updates)
        times = race({how: make(how) for how in ("eager", "compile")}, sizes.repetitions)
        torch._dynamo.reset()
        quickest[agent] = min(times, key=lambda how: statistics.median(times[how]))
        what = f"{agent}, fleet of {sizes.fleet}, compiled, 1 core"
        lines.append(_beside_eager(what, times["compile"], times["eager"]))
    both = {
        agent: own_fleet(setting, agent, sizes.fleet, quickest[agent], sizes.updates)
        for agent in ("drpo", "bc")
    }
    times = race(both, sizes.repetitions)
    what = f"drpo, fleet of {sizes.fleet}, {quickest['drpo']}, 1 core"
    peer = f"bc, {quickest['bc']}"
    return [Line(what, "ms", times["drpo"], peer, tuple(times["bc"]), Goal(high=1.25)), *lines]


def _beside_eager(what: str, times: list[float], eager: Sequence[float]) -> Line:
    return Line(what, "ms", times, "eager", tuple(eager), speed=True)


def alone(setting: Setting) -> list[Line]:
    """One learner alone, eager and compiled."""
    return on_one_core(_alone, setting)


def _alone(setting: Setting) -> list[Line]:
    sizes = setting.sizes
    lines = []
    for agent in sizes.alone:
        make = partial(own_learner, setting, agent, updates=sizes.updates)
        times = race({how: make(how) for how in ("eager", "compile")}, sizes.repetitions)
        torch._dynamo.reset()
        what = f"{agent}, one learner, compiled, 1 core"
        lines.append(_beside_eager(what, times["compile"], times["eager"]))
    return lines


def starts(setting: Setting) -> list[Line]:
    """Until the first compiled update of a process that finds what an earlier one compiled."""
    return [_start(setting, agent) for agent in setting.sizes.alone]


def _start(setting: Setting, agent: str) -> Line:
    sizes = setting.sizes
    with tempfile.TemporaryDirectory() as folder, environment(TORCHINDUCTOR_CACHE_DIR=folder):

        def start(execution: str) -> float:
            return on_one_core(seconds_to_first_update, agent, sizes.fleet, execution)

        first = start("compile")
        turns = take_turns(
            {how: partial(start, how) for how in ("compile", "eager")}, sizes.repetitions
        )
    what = f"{agent}, fleet of {sizes.fleet}: first update of a later process"
    peer = f"the first process {first:.1f} s, eager"
    goal = Goal(high=2.0, unit="s", of_ratio=False)
    return Line(what, "s", turns["compile"], peer, tuple(turns["eager"]), goal)


def share(setting: Setting) -> list[Line]:
    """How near a large fleet of DRPO comes to what the device can do, and what its time goes to."""
    lines = [_share(setting, precision) for precision in ("float32", "tf32")]
    if setting.kernels is not None:
        setting.kernels.parent.mkdir(parents=True, exist_ok=True)
        setting.kernels.write_text(_kernels(setting), encoding="utf-8")
    return lines


def _share(setting: Setting, precision: str) -> Line:
    sizes, device = setting.sizes, setting.device
    make = partial(
        own_fleet,
        setting,
        "drpo",
        sizes.large_fleet,
        updates=sizes.large_updates,
        precision=precision,
    )
    (how, *_), _ = search(
        {how: partial(make, how) for how in ("graph", "compile")}, sizes.search_turns
    )
    contender = make(how)
    contender.run()

    def roofline() -> Roofline:
        return measure_roofline(sizes.large_fleet, BATCH_SIZE, LAYERS, precision, device)

    bounds, times = [], []
    for _ in range(sizes.repetitions):
        bounds.append(roofline())
        times.append(contender.milliseconds())
    return Line(
        f"drpo, fleet of {sizes.large_fleet}, {precision}, {how}, {where(device)}",
        "ms",
        times,
        f"roofline, {bounds[-1].binding} binds",
        tuple(1e3 * bound.seconds / sizes.large_fleet for bound in bounds),
        Goal(low=0.6),
        speed=True,
    )


def _kernels(setting: Setting) -> str:
    """The profiler's table of the kernels that the fleet's time goes to."""
    sizes = setting.sizes
    contender = own_fleet(setting, "drpo", sizes.large_fleet, "graph", 20 * sizes.large_fleet)
    contender.run()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        contender.run()
        torch.cuda.synchronize(setting.device)
    table = profiler.key_averages().table(sort_by="self_cuda_time_total", row_limit=30)
    return f"{table}\n"


def many_runs(setting: Setting) -> list[Line]:
    """Ten thousand complete runs of DRPO, in fleets; from a stretch of one if they take long."""
    sizes = setting.sizes
    fleets = -(-RUNS // sizes.large_fleet)
    _train_fleet(setting, 1)  # what a device does once in a process is no part of a fleet's time
    short, long = (_train_fleet(setting, n * sizes.stretch) for n in (1, 2))
    # The first of the two has to make everything ready as well: so has every fleet.
    ready, step = 2.0 * short - long, (long - short) / sizes.stretch
    foreseen = fleets * (max(0.0, ready) + STEPS * step)
    what = f"{RUNS:,} runs of drpo, {STEPS:,} steps each, as {fleets} fleets of {sizes.large_fleet}"
    what += f", {where(setting.device)}"
    if foreseen > PATIENCE:
        how = f"extrapolated from {3 * sizes.stretch:,} steps of a fleet"
        return [Line(f"{what}: {how}", "s", [foreseen])]
    return [Line(what, "s", [sum(_train_fleet(setting, STEPS) for _ in range(fleets))])]


def _train_fleet(setting: Setting, steps: int) -> float:
    transitions = random_transitions(setting.sizes.transitions, setting.device)

    def job() -> None:
        fleet = Fleet(
            "drpo",
            observation_dim=OBSERVATION_DIM,
            action_dim=DIM,
            seeds=range(setting.sizes.large_fleet),
            device=setting.device,
        )
        train_fleet(fleet, transitions, TrainingConfig(steps=steps), progress=False)

    return seconds_per_call(job, device=setting.device)


def graph(setting: Setting) -> list[Line]:
    """One learner alone as a CUDA graph, and eager."""
    sizes = setting.sizes
    lines = []
    for agent in sizes.alone:
        make = partial(own_learner, setting, agent, updates=sizes.alone_updates)
        times = race({how: make(how) for how in ("eager", "graph")}, sizes.repetitions)
        what = f"{agent}, one learner, CUDA graph, {where(setting.device)}"
        eager = tuple(times["eager"])
        lines.append(Line(what, "ms", times["graph"], "eager", eager, Goal(low=5.0), speed=True))
    return lines


SECTIONS: dict[str, dict[str, Callable[[Setting], list[Line]]]] = {
    "cpu": {"peers": peers, "agents": agents, "alone": alone, "starts": starts},
    "cuda": {"share": share, "many_runs": many_runs, "graph": graph},
}


def main() -> None:
    """Measure, print the table and write every repetition to a JSON file."""
    names = [name for sections in SECTIONS.values() for name in sections]
    command = parse_command(__doc__, DEFAULT_OUT, names)
    sizes = QUICK if command.quick else Sizes()
    kernels = None if command.out is None else command.out.with_suffix(".kernels.txt")
    setting = Setting(sizes, command.device, kernels)
    sections = SECTIONS[command.device.type]
    run_sections(
        command,
        sizes,
        {n: partial(section, setting) for n, section in sections.items() if n in command.only},
    )


if __name__ == "__main__":
    main()
