"""Recall, lost reward and speed of decoders: ``python -m recsim_drpo.benchmarks.retrieval``.

Simulated users are shown the items of a policy that knows each user's interest but for an error:
its action is u* plus an isotropic one of length ``--error``. Every decoder answers the same
actions, so what it loses in latent reward against exact search is a paired difference.
``clustered`` is the registered world with more items, in ``isotropic`` items have no topics to
speak of. Searches are in batches on one core; indexes are built anew, in a folder of their own.
Times are the processor's, so that others who use the machine count for as little as can be.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recsim_drpo.benchmarks.speed.measuring import environment, write_report
from recsim_drpo.core.provenance import versions
from recsim_drpo.core.torch_settings import threads
from recsim_drpo.reporting import plots
from recsim_drpo.reporting.statistics import Estimate, mean_interval
from recsim_drpo.reporting.tables import markdown_table
from recsim_drpo.simulator.decoder import Decoder, ExactDecoder, are_best, directions
from recsim_drpo.simulator.decoder_names import parse_decoder
from recsim_drpo.simulator.faiss_engine import lists_for, require_faiss, set_parameters
from recsim_drpo.simulator.index_files import INDEX
from recsim_drpo.simulator.retrieval import make_decoder
from recsim_drpo.simulator.world import World, make_world

DEFAULT_OUT = Path("benchmarks/results/retrieval.json")
PICTURE = Path("docs/images/retrieval.png")
SHAPES: Mapping[str, Mapping[str, Any]] = {"clustered": {}, "isotropic": {"topic_spread": 100.0}}
"""The catalogues that are measured, by what differs from the registered world."""

FAMILIES = ("exact", "IVF", "IVF-PQ, re-ranked", "HNSW")
"""The kinds of decoders, in the order of tables and colours."""

_EFFORTS = (1, 4, 16, 64, 256, 512, 1_024, 2_048)  # of lists; above 512 at most an eighth of them
_CANDIDATES = 8  # times 16, of which codes propose as many
_HEADER = ("decoder", "recall@1", "lost reward", "queries/s", "build", "index")


def decoders(family: str, num_items: int, dim: int) -> list[str]:
    """Names of the decoders of a family, from quick to thorough.

    Args:
        family: one of :data:`FAMILIES`.
        num_items: N.
        dim: d; codes have four bits for each, as those of ``auto``.
    """
    lists = lists_for(num_items)
    probes = [n for n in _EFFORTS if n < lists and n <= max(512, lists // 8)]
    if family == "IVF":
        return [f"faiss:IVF{lists},Flat?nprobe={n}" for n in probes]
    if family == "HNSW":
        return [f"faiss:HNSW32?efSearch={min(16 * n, num_items)}" for n in (1, 4, 16, 64)]
    if family == "exact":
        return ["exact"]
    codes = f"IVF{lists},PQ{dim}x4fs,RFlat"
    return [f"faiss:{codes}?nprobe={n},k_factor_rf={_CANDIDATES}" for n in probes]


def measure(
    num_items: int,
    shape: str,
    *,
    num_users: int,
    error: float,
    repetitions: int,
    families: Sequence[str] = FAMILIES,
    **world: Any,
) -> dict[str, Any]:
    """Rows of one catalogue, a decoder each.

    Args:
        num_items: N.
        shape: one of :data:`SHAPES`.
        num_users: test users, an action each.
        error: length of what a policy's action is off, > 0.
        repetitions: turns of the timing, of which the quickest counts.
        families: of :data:`FAMILIES`.
        **world: other parameters of the world.
    """
    simulated = make_world(num_items=num_items, **SHAPES[shape], **world)
    users = simulated.users("test", 0, torch.arange(num_users))
    noise = torch.randn(users.interests.shape, generator=torch.Generator().manual_seed(0))
    queries = directions(users.interests + error * directions(noise))
    exact = ExactDecoder(simulated.embeddings)
    best = exact.search(queries)
    paid = simulated.reward_of_items(best[1].squeeze(1), users.interests)
    rows = []
    with tempfile.TemporaryDirectory() as folder, environment(RECSIM_DRPO_INDEXES=folder):
        names = [
            (family, name)
            for family in families
            for name in decoders(family, num_items, simulated.dim)
        ]
        made = _Made(simulated, Path(folder))
        for family, name in tqdm(names, f"{num_items:,} {shape}", unit="decoder", disable=None):
            items, speed = _searched(made.decoder(name), queries, repetitions)
            earned = simulated.reward_of_items(items, users.interests)
            hits = are_best(items, simulated.embeddings, queries, best[0])
            rows.append(
                {
                    "family": family,
                    "decoder": name,
                    "recall": mean_interval(hits.numpy())._asdict(),
                    "lost_reward": mean_interval((paid - earned).numpy())._asdict(),
                    "queries_per_second": speed,
                    "build_seconds": made.seconds,
                    "index_bytes": made.index_bytes,
                }
            )
    return {
        "num_items": num_items,
        "shape": shape,
        "num_users": num_users,
        "error": error,
        "reward": float(paid.mean()),
        "rows": rows,
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "versions": versions() | {"faiss": require_faiss().__version__},
    }


class _Made:
    """Decoders in turn, in the memory of one: those of one index are set anew, not read again.

    Args:
        world: whose items they search.
        folder: where indexes are kept.

    Attributes:
        seconds: that the index took to build.
        index_bytes: of its file; 0 where there is none.
    """

    def __init__(self, world: World, folder: Path) -> None:
        self.seconds, self.index_bytes = 0.0, 0
        self._embeddings, self._folder = world.embeddings, folder
        self._words = ""
        self._decoder: Any = None

    def decoder(self, name: str) -> Decoder:
        """The decoder of a name, which the one before is not to be used beside."""
        words = name.partition("?")[0]
        if words == self._words:
            set_parameters(self._decoder.index, parse_decoder(name).parameters)
        else:
            self._decoder = None  # before the next takes as much
            before, started = self._bytes(), time.process_time()
            self._decoder = make_decoder(name, self._embeddings)
            self.seconds = time.process_time() - started
            self.index_bytes = self._bytes() - before
            self._words = words
        decoder: Decoder = self._decoder
        return decoder

    def _bytes(self) -> int:
        return sum(path.stat().st_size for path in self._folder.rglob(INDEX))


def _searched(decoder: Decoder, queries: Tensor, repetitions: int) -> tuple[Tensor, float]:
    """The best items, int64 (B,), and queries a second, in one batch, of the quickest turn."""
    times = []
    for _ in range(repetitions):
        started = time.process_time()
        items = decoder.search(queries, 1)[1].squeeze(1)
        times.append(time.process_time() - started)
    return items, len(queries) / min(times)


def table(section: Mapping[str, Any]) -> str:
    """The rows of one catalogue in Markdown, and a line about them."""
    rows = []
    for row in section["rows"]:
        lost = Estimate(**row["lost_reward"])
        rows.append(
            [
                row["decoder"],
                f"{row['recall']['value']:.1%}",
                f"{lost.value:.4f} [{lost.low:.4f}, {lost.high:.4f}]",
                f"{row['queries_per_second']:,.0f}",
                f"{row['build_seconds']:,.1f} s" if row["index_bytes"] else "",
                f"{row['index_bytes'] / 2**20:,.0f} MiB" if row["index_bytes"] else "",
            ]
        )
    about = (
        f"{section['num_items']:,} items, {section['shape']}; {section['num_users']:,} users, "
        f"actions off by {section['error']:g}; exact search earns {section['reward']:.3f}. "
        f"One core, processor time{_load(section)}."
    )
    return f"{markdown_table(_HEADER, rows)}\n\n{about}"


def _load(section: Mapping[str, Any]) -> str:
    """How busy the machine was, where it was known."""
    load = section.get("load_average")
    return f"; load average {load[0]:.1f} at the end" if load else ""


def draw(sections: Sequence[Mapping[str, Any]], path: Path) -> list[Path]:
    """Write the curves of recall and of lost reward against speed, a row a catalogue."""
    figure, panels = plots.new_panels(len(sections), 2, 8.0, 2.8 * len(sections))
    for axes, section in zip(panels, sections, strict=True):
        for colour, family in zip(plots.COLOURS, FAMILIES, strict=False):
            rows = [row for row in section["rows"] if row["family"] == family]
            speed = [row["queries_per_second"] for row in rows]
            mark: dict[str, Any] = {"marker": "o", "ms": 4}
            if family == "exact":  # one point, in front of those that reach it
                mark = {"marker": "*", "ms": 10, "zorder": 5}
            style = {"color": colour, "label": family, **mark}
            axes[0].plot(speed, [row["recall"]["value"] for row in rows], **style)
            lost = [Estimate(**row["lost_reward"]) for row in rows]
            spread = np.array([[e.value - e.low, e.high - e.value] for e in lost]).reshape(-1, 2).T
            axes[1].errorbar(speed, [e.value for e in lost], yerr=spread, **style)
        title = f"{section['num_items']:,} items, {section['shape']}"
        axes[0].set(ylabel="recall@1", title=title, xscale="log", ylim=(0.0, 1.05))
        axes[1].set(ylabel="lost reward", title=title, xscale="log")
    for bottom in panels[-1]:
        bottom.set_xlabel("queries a second, one core")
    panels[0][0].legend(frameon=False, fontsize=8)
    return plots.save(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each catalogue, write JSON, tables and the picture, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--num-users", type=int, default=2_000)
    parser.add_argument("--error", type=float, default=0.5, help="length of an action's error")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"default {DEFAULT_OUT}")
    options = parser.parse_args(arguments)
    require_faiss().omp_set_num_threads(1)
    for num_items in options.items:
        for shape in options.shapes:
            with threads(1):
                section = measure(
                    num_items,
                    shape,
                    num_users=options.num_users,
                    error=options.error,
                    repetitions=options.repetitions,
                    families=options.families,
                )
            write_report(options.out, {f"{num_items}, {shape}": section})
            print(f"{table(section)}\n")
    sections = list(json.loads(options.out.read_text(encoding="utf-8")).values())
    text = "\n\n".join(table(section) for section in sections)
    options.out.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    try:
        draw(sections, PICTURE if options.out == DEFAULT_OUT else options.out.with_suffix(".png"))
    except plots.PlotsMissingError as missing:
        print(missing)


if __name__ == "__main__":
    main()
