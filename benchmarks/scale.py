"""Time and memory against items and rounds: ``python -m recsim_drpo.benchmarks.scale``.

One core, each measurement in a process of its own, times of the processor, so that others who use
the machine count for as little as can be. Peers, of the same run: exact search by faiss and
hnswlib's graph (where they are installed), and the arithmetic that simulating cannot do without.
What the code before did stands beside as it was told then, on another day and maybe another
machine.
"""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from recsim_drpo.benchmarks.scale_growth import FORMER_ROUNDS, FORMER_STEPS, draw_growth
from recsim_drpo.benchmarks.speed.measuring import (
    Goal,
    Line,
    environment,
    in_fresh_process,
    parse_command,
    peak_memory,
    run_sections,
)
from recsim_drpo.envs.registration import ENV_ID, register
from recsim_drpo.reporting.plots import PlotsMissingError
from recsim_drpo.simulator import tiles
from recsim_drpo.simulator.decoder import ExactDecoder, are_best, directions
from recsim_drpo.simulator.logging_agent import LoggingAgent
from recsim_drpo.simulator.retrieval import label, make_decoder
from recsim_drpo.simulator.world import World, make_world

DEFAULT_OUT = Path("benchmarks/results/scale.json")
PICTURE = Path("docs/images/scale.png")
NUM_ENVS = 256
_ERROR = 0.5  # length of what a policy's action is off
_TILE = 2**15  # numbers, which stay in cache with what is made of them
_HNSW = (16, 200)  # links and effort of building, hnswlib's own defaults
_RECALL = 0.99


@dataclass(frozen=True)
class Sizes:
    """Numbers of things that are measured, and how often.

    Attributes:
        items: catalogues.
        cells: users × items that a turn of simulating or of stepping goes through, about.
        rounds: rounds that are simulated against the largest catalogue, to see memory grow.
        queries: of each decoder.
        decoded: catalogues that are searched.
        graphs: catalogues up to which hnswlib's graph is built, a millisecond or more an item.
        repetitions: turns.
    """

    items: tuple[int, ...] = (5_000, 20_000, 100_000, 300_000, 1_000_000)
    cells: int = 10**9
    rounds: tuple[int, ...] = (1_000, 5_000, 20_000)
    queries: int = 1_024
    decoded: tuple[int, ...] = (100_000, 1_000_000)
    graphs: int = 100_000
    repetitions: int = 3


QUICK = Sizes(
    items=(2_000, 40_000),
    cells=2 * 10**7,
    rounds=(256, 1_024),
    queries=256,
    decoded=(21_000,),
    graphs=21_000,
    repetitions=2,
)


def simulate(sizes: Sizes) -> list[Line]:
    """Rounds of the logging agent, against the arithmetic that they cannot do without."""
    lines = []
    for num_items in sizes.items:
        rates, roofs, peak = in_fresh_process(_simulate_job, num_items, sizes)
        what = f"simulate rounds, {num_items:,} items"
        former = _former(FORMER_ROUNDS, num_items, sizes)
        lines += [
            Line(what, "rounds/s", rates, "its arithmetic", tuple(roofs)),
            Line(f"{what}: memory", "GB", [peak]),
            *([Line(what, "rounds/s", rates, "before", former)] if former else []),
        ]
    return lines


def _former(told: Mapping[int, float], num_items: int, sizes: Sizes) -> tuple[float, ...]:
    """What was told of the code before, once for each turn."""
    return (told[num_items],) * sizes.repetitions if num_items in told else ()


def _simulate_job(num_items: int, sizes: Sizes) -> tuple[list[float], list[float], float]:
    """Rounds a second of each turn, those of its arithmetic alone, and the peak of memory in GB."""
    torch.set_num_threads(1)
    world = make_world(num_items=num_items)
    agent = LoggingAgent(world, "extreme")
    count = max(tiles.users_at_a_time(world.device), sizes.cells // num_items)
    tastes = world.users("train", 0, torch.arange(count)).tastes
    rounds = torch.arange(count)
    agent.choose(tastes[:128], 0, rounds[:128])
    rates, roofs = [], []
    for _ in range(sizes.repetitions):
        roofs.append(count / _arithmetic_seconds(world, count))
        rates.append(count / _seconds(lambda: agent.choose(tastes, 0, rounds)))
    return rates, roofs, peak_memory() / 1e9


def _arithmetic_seconds(world: World, rounds: int) -> float:
    """Seconds of the scores at the rate of square products, and of two exponentials of each."""
    calls, size = 5, 1_024
    left, right, product = (torch.randn(size, size) for _ in range(3))
    torch.mm(left, right, out=product)  # the first call is slower
    of_product = _seconds(lambda: [torch.mm(left, right, out=product) for _ in range(calls)])
    tile, out = torch.full((_TILE,), -1.0), torch.empty(_TILE)
    of_tile = _seconds(lambda: [torch.exp2(tile, out=out) for _ in range(100 * calls)])
    cells = rounds * world.num_items
    of_products = world.num_topics * cells * of_product / (calls * size**3)
    return of_products + 2.0 * cells * of_tile / (100 * calls * _TILE)


def memory(sizes: Sizes) -> list[Line]:
    """Peak memory and time of more and more rounds against the largest catalogue."""
    num_items = sizes.items[-1]
    jobs = [in_fresh_process(_memory_job, num_items, rounds) for rounds in sizes.rounds]
    lines = []
    for rounds, (seconds, peak) in zip(sizes.rounds, jobs, strict=True):
        what = f"{rounds:,} rounds, {num_items:,} items"
        first = f"{sizes.rounds[0]:,} rounds", (jobs[0][1],)
        lines += [
            Line(f"{what}: time", "s", [seconds]),
            Line(f"{what}: memory", "GB", [peak], *first, Goal(0.9, 1.1)),
        ]
    return lines


def _memory_job(num_items: int, rounds: int) -> tuple[float, float]:
    """Seconds of as many rounds, and the peak of memory, in GB."""
    torch.set_num_threads(1)
    world = make_world(num_items=num_items)
    agent = LoggingAgent(world, "extreme")
    tastes = world.users("train", 0, torch.arange(rounds)).tastes
    seconds = _seconds(lambda: agent.choose(tastes, 0, torch.arange(rounds)))
    return seconds, peak_memory() / 1e9


def environments(sizes: Sizes) -> list[Line]:
    """Steps of 256 environments, decoded exactly and by ``auto``, and what ``make`` takes."""
    lines = []
    for num_items in sizes.items:
        exact = in_fresh_process(_steps_job, num_items, "exact", sizes)
        auto = in_fresh_process(_steps_job, num_items, "auto", sizes)
        what = f"step {NUM_ENVS} environments, {num_items:,} items"
        former = _former(FORMER_STEPS, num_items, sizes)
        goal = Goal(low=800.0, of_ratio=False, unit="steps/s") if num_items == 10**6 else None
        lines += [
            Line(what, "steps/s", auto.rates, "exact", tuple(exact.rates), goal),
            *([Line(what, "steps/s", auto.rates, "before", former)] if former else []),
            Line(f"make, {num_items:,} items", "s", [exact.make]),
            Line(f"make, {num_items:,} items: memory", "GB", [exact.peak]),
        ]
    return lines


@dataclass(frozen=True)
class _Steps:
    rates: list[float]
    make: float
    peak: float


def _steps_job(num_items: int, decoder: str, sizes: Sizes) -> _Steps:
    """Steps a second of each turn, seconds of ``make``, and its memory in GB."""
    torch.set_num_threads(1)
    register()
    started = time.process_time()
    env = gym.make_vec(
        ENV_ID,
        num_envs=NUM_ENVS,
        vectorization_mode="vector_entry_point",
        num_items=num_items,
        decoder=decoder,
    )
    contexts, _ = env.reset(seed=0)
    make, peak = time.process_time() - started, peak_memory() / 1e9
    steps = max(1, min(64, 4 * sizes.cells // (NUM_ENVS * num_items)))
    world = make_world(num_items=num_items, decoder=decoder)
    actions = _actions(world, torch.from_numpy(contexts)).numpy()
    env.step(actions)  # builds or reads the index
    rates = []
    for _ in range(sizes.repetitions):
        seconds = _seconds(lambda: [env.step(actions) for _ in range(steps)])
        rates.append(steps * NUM_ENVS / seconds)
    return _Steps(rates, make, peak)


def _actions(world: World, contexts: Tensor) -> Tensor:
    """What a policy that knows each user's interest but for an error answers, float32 (B, d)."""
    interests = world.interests(world.tastes(contexts))
    noise = torch.randn(interests.shape, generator=torch.Generator().manual_seed(0))
    return directions(interests + _ERROR * directions(noise))


def decode(sizes: Sizes) -> list[Line]:
    """Decoding exactly, by faiss's exact search, by ``auto`` and by hnswlib."""
    lines = []
    for num_items in sizes.decoded:
        lines += in_fresh_process(_decode_job, num_items, sizes)
    return lines


def _decode_job(num_items: int, sizes: Sizes) -> list[Line]:
    torch.set_num_threads(1)
    world = make_world(num_items=num_items)
    queries = _actions(world, world.users("test", 0, torch.arange(sizes.queries)).contexts)
    exact = ExactDecoder(world.embeddings)
    best = exact.search(queries)[0]

    def recall(search: Callable[[], Tensor]) -> float:
        hits = are_best(search().view(-1), world.embeddings, queries, best)
        return float(hits.to(torch.float32).mean())

    searches: dict[str, Callable[[], Tensor]] = {"exact": lambda: exact.search(queries)[1]}
    words = {"exact": "exact"}
    searches |= _faiss_searches(world, queries, words)
    if num_items <= sizes.graphs:
        searches |= _graph_search(world, queries, recall, words)
    rates: dict[str, list[float]] = {name: [] for name in searches}
    for _ in range(sizes.repetitions):
        for name, search in searches.items():
            rates[name].append(len(queries) / _seconds(search))
    ours = "auto" if "auto" in rates else "exact"
    return [
        Line(
            f"decode, {num_items:,} items: {words[name]}, recall@1 {recall(searches[name]):.3f}",
            "queries/s",
            rates[name],
            *(() if name == "exact" else ("exact", tuple(rates["exact"]))),
        )
        for name in searches
    ] + [
        Line(f"decode, {num_items:,} items: {ours}", "queries/s", rates[ours], name, tuple(of))
        for name, of in rates.items()
        if name == "hnswlib"
    ]


def _faiss_searches(
    world: World, queries: Tensor, words: dict[str, str]
) -> dict[str, Callable[[], Tensor]]:
    """Exact search by faiss, and ``auto``, where faiss is installed; what they are into words."""
    if importlib.util.find_spec("faiss") is None:
        return {}
    import faiss

    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(world.dim)
    flat.add(world.embeddings.numpy())
    auto = make_decoder("auto", world.embeddings)
    words |= {"faiss Flat": "faiss Flat", "auto": f"auto ({label(auto)})"}
    return {
        "faiss Flat": lambda: torch.from_numpy(flat.search(queries.numpy(), 1)[1]),
        "auto": lambda: auto.search(queries, 1)[1],
    }


def _graph_search(
    world: World,
    queries: Tensor,
    recall: Callable[[Callable[[], Tensor]], float],
    words: dict[str, str],
) -> dict[str, Callable[[], Tensor]]:
    """hnswlib's graph, where it is installed, by the least effort that finds what auto is to."""
    if importlib.util.find_spec("hnswlib") is None:
        return {}
    hnswlib: Any = importlib.import_module("hnswlib")
    graph = hnswlib.Index(space="ip", dim=world.dim)
    graph.init_index(world.num_items, M=_HNSW[0], ef_construction=_HNSW[1])
    graph.add_items(world.embeddings.numpy(), num_threads=1)

    def search() -> Tensor:
        items = graph.knn_query(queries.numpy(), k=1, num_threads=1)[0]
        return torch.from_numpy(items.astype(np.int64))

    effort = 16
    graph.set_ef(effort)
    while recall(search) < _RECALL and effort < world.num_items:
        effort *= 2
        graph.set_ef(effort)
    words["hnswlib"] = f"hnswlib (M={_HNSW[0]}, ef={effort})"
    return {"hnswlib": search}


def _seconds(function: Callable[[], object]) -> float:
    """Processor time of a call, of all threads."""
    started = time.process_time()
    function()
    return time.process_time() - started


def main() -> None:
    """Measure, print the table, write every repetition to a JSON file, and draw the growth."""
    sections: dict[str, Callable[[Sizes], Sequence[Line]]] = {
        "simulate": simulate,
        "memory": memory,
        "environments": environments,
        "decode": decode,
    }
    command = parse_command(__doc__, DEFAULT_OUT, list(sections))
    sizes = QUICK if command.quick else Sizes()
    jobs: dict[str, Any] = {name: partial(sections[name], sizes) for name in command.only}
    with tempfile.TemporaryDirectory() as folder, environment(RECSIM_DRPO_INDEXES=folder):
        run_sections(command, sizes, jobs)
    if command.out is not None:
        picture = PICTURE if command.out == DEFAULT_OUT else command.out.with_suffix(".png")
        try:
            draw_growth(command.out, picture)
        except PlotsMissingError as missing:
            print(missing)


if __name__ == "__main__":
    main()
