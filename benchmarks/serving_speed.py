"""Measure serving over HTTP: ``python -m recsim_drpo.benchmarks.serving_speed``.

A server (``recsim-drpo serve``) runs on one core, with one thread of torch; this process asks it on
loopback, from another core where there is one, over connections that each wait for their answer
before they ask again. Of several at once, those that wait are calculated together, and one by one
(``--max-batch 1``) for comparison. Beside a request's time stands what it is made of: the policy's
own time for one context and the index's for one search of the ten best items, measured in the same
run.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from recsim_drpo.agents.registry import AgentSpec
from recsim_drpo.benchmarks.speed.measuring import (
    DIM,
    OBSERVATION_DIM,
    Line,
    environment,
    in_fresh_process,
    parse_command,
    run_sections,
    seconds_per_call,
    unit_rows,
)
from recsim_drpo.runs.folder import load_agent, save_run
from recsim_drpo.simulator.decoder import ExactDecoder, directions

DEFAULT_OUT = Path("benchmarks/results/serving_speed.json")
_K = 10
_MS = 1e3


@dataclass(frozen=True)
class Sizes:
    """Numbers of things that are measured, and how often.

    Attributes:
        items: of the catalogues.
        requests: that are asked of a catalogue of so many items in a turn.
        connections: at once, where more than one is.
        batch: contexts of a request, where it has many.
        repetitions: turns.
    """

    items: tuple[int, ...] = (5_000, 1_000_000)
    requests: tuple[int, ...] = (2_000, 60)
    connections: int = 8
    batch: int = 64
    repetitions: int = 3


QUICK = Sizes(items=(500,), requests=(40,), connections=2, batch=4, repetitions=2)


def serving(sizes: Sizes, folder: Path) -> list[Line]:
    """Lines on requests a second and their time, by the size of the catalogue."""
    lines = []
    for num_items, requests in zip(sizes.items, sizes.requests, strict=True):
        vectors, run = folder / f"{num_items}.npy", folder / f"run-{num_items}"
        np.save(vectors, unit_rows(num_items, DIM, torch.Generator().manual_seed(0)).numpy())
        spec = AgentSpec("drpo", OBSERVATION_DIM, DIM)
        save_run(run, spec.make(), [], {"steps": 0, "batch_size": 1, "seed": 0}, {}, spec)
        with environment(OMP_NUM_THREADS="1"):
            own = [
                in_fresh_process(_own_job, str(run), str(vectors), min(requests, 500))
                for _ in range(sizes.repetitions)
            ]
            what, many = f"{num_items:,} items", sizes.connections
            policy, index = (
                [seconds * _MS for seconds in column] for column in zip(*own, strict=True)
            )
            lines.append(Line(f"{what}: policy, one context", "ms", policy))
            lines.append(Line(f"{what}: index, one search", "ms", index))
            alone = [one + other for one, other in zip(policy, index, strict=True)]
            with _server(run, vectors) as port:
                loads = ((1, 1), (many, 1), (1, sizes.batch))
                lines += _lines(sizes, what, "", port, requests, loads, alone)
            with _server(run, vectors, "--max-batch", "1") as port:
                lines += _lines(sizes, what, ", one by one", port, requests, ((many, 1),), alone)
    return lines


def _lines(
    sizes: Sizes,
    what: str,
    how: str,
    port: int,
    requests: int,
    loads: Sequence[tuple[int, int]],
    alone: list[float],
) -> list[Line]:
    """Lines on a server that listens at a port, beside the own time of policy and index.

    Args:
        sizes: of what is measured.
        what: the catalogue, in words.
        how: the server answers, in words.
        port: of the server.
        requests: of a turn.
        loads: connections, and contexts of a request.
        alone: milliseconds of policy and index for one context, by repetition.
    """
    lines = []
    for connections, batch in loads:
        count = max(2 * connections, requests // (batch if batch > 1 else 1))
        asyncio.run(_asked(port, min(count, 20), connections, batch))  # warm
        turns = [
            asyncio.run(_asked(port, count, connections, batch)) for _ in range(sizes.repetitions)
        ]
        title = f"{what}, {connections} connection{'s' if connections > 1 else ''}"
        title += f", {batch} contexts a request" if batch > 1 else how
        lines.append(Line(f"{title}: requests", "1/s", [len(t) / s for s, t in turns]))
        for share in (50, 99):
            times = [float(np.percentile(t, share)) * _MS for _, t in turns]
            peer = ("policy and index alone", tuple(alone)) if batch == 1 else ()
            lines.append(Line(f"{title}: p{share}", "ms", times, *peer))
    return lines


def _own_job(run: str, vectors: str, calls: int) -> tuple[float, float]:
    """Seconds of the policy for a context, and of the index for a search, one after another."""
    torch.set_num_threads(1)
    agent, decoder = load_agent(run), ExactDecoder(torch.from_numpy(np.load(vectors)))
    contexts = torch.randn(1, OBSERVATION_DIM, generator=torch.Generator().manual_seed(0))
    action = torch.as_tensor(agent.act(contexts))
    jobs = (
        lambda: agent.act(contexts),
        lambda: decoder.search(directions(action), _K),
    )
    policy, index = (
        min(seconds_per_call(job, calls) for _ in range(2))  # the first turn warms up
        for job in jobs
    )
    return policy, index


@contextmanager
def _server(run: Path, vectors: Path, *options: str) -> Iterator[int]:
    """The port of a server on one core of its own, which ends with the block."""
    command = [sys.executable, "-m", "recsim_drpo.cli", "serve", str(run), "--port", "0"]
    command += ["--embeddings", str(vectors), "--timeout", "60", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        port = None
        for line in process.stderr:
            if found := re.search(r"^Serving at http://.*:(\d+)$", line.strip()):
                port = int(found[1])
                break
        if port is None:
            raise RuntimeError(f"The server ended with status {process.wait()}.")
        try:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})
            yield port
        finally:
            process.terminate()


async def _asked(port: int, count: int, connections: int, batch: int) -> tuple[float, list[float]]:
    """Seconds in all, and of each of ``count`` requests, over so many connections at once."""
    generator = np.random.default_rng(0)
    contexts = generator.uniform(-1.0, 1.0, (batch, OBSERVATION_DIM)).round(4).tolist()
    body = json.dumps({"contexts": contexts, "k": _K}).encode()
    head = f"POST /recommend HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    times: list[float] = []

    async def connection(share: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(share):
            started = time.perf_counter()
            writer.write(head.encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"content-length: (\d+)", answer, re.IGNORECASE)
            if " 200 " not in answer.partition("\r\n")[0] or length is None:
                raise RuntimeError(f"The server answered {answer!r}.")
            await reader.readexactly(int(length[1]))
            times.append(time.perf_counter() - started)
        writer.close()
        await writer.wait_closed()

    started = time.perf_counter()
    await asyncio.gather(*(connection(count // connections) for _ in range(connections)))
    return time.perf_counter() - started, times


def main() -> None:
    """Measure, print the table and write every repetition to a JSON file."""
    command = parse_command(__doc__, DEFAULT_OUT, ["serving"])
    sizes = QUICK if command.quick else Sizes()
    with tempfile.TemporaryDirectory() as folder:
        run_sections(command, sizes, {"serving": partial(serving, sizes, Path(folder))})


if __name__ == "__main__":
    main()
