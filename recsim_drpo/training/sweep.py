"""Train agents × hyper-parameters × seeds, in fleets wherever an agent can run in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tqdm import tqdm

from recsim_drpo.agents.engine.algorithm import Algorithm
from recsim_drpo.agents.fleet import Fleet, check_variants, static_signature
from recsim_drpo.agents.protocol import Agent
from recsim_drpo.agents.registry import find_agent, make_agent
from recsim_drpo.core.config import build_config
from recsim_drpo.core.policy import PolicyEvaluator
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.core.validation import check_integer, check_seeds
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import DivergedError, Row, train, train_fleet

_Key = tuple[str, int, int]  # agent, number of the variant, seed
_FLEET_SIZES = {"cpu": 8, "cuda": 512}


class Run(NamedTuple):
    """What is to be trained once.

    Attributes:
        agent: name.
        seed: of initialisation, order of the data and random numbers.
        overrides: hyper-parameters that are not the defaults; ``batch_size`` may be among them.
    """

    agent: str
    seed: int
    overrides: Mapping[str, Any]


@dataclass(frozen=True)
class Trained:
    """What became of a run.

    Attributes:
        run: what was asked for.
        dims: of observations and of actions.
        options: dtype, precision and execution, where they were given.
        agent: as it is at the end; if it diverged, as it was before, where it knows how.
        history: rows of metrics.
        diverged_at: the update at which it diverged, or ``None``.
    """

    run: Run
    dims: tuple[int, int]
    options: Mapping[str, Any]
    agent: Agent
    history: list[Row]
    diverged_at: int | None


def train_many(
    agents: Mapping[str, Sequence[Mapping[str, Any]]],
    logs: Transitions | Mapping[int, Transitions],
    config: TrainingConfig | None = None,
    *,
    seeds: Sequence[int] = (0,),
    evaluator: PolicyEvaluator | None = None,
    on_log: Callable[[Run, Row], None] | None = None,
    on_done: Callable[[Trained], None] | None = None,
    fleet_size: int | None = None,
    progress: bool = True,
    **options: Any,
) -> list[Trained]:
    """Train agents × hyper-parameters × seeds, in fleets wherever an agent can run in one.

    Args:
        agents: variants (hyper-parameters by name; ``{}`` are the defaults) by agent's name. A
            variant may set ``batch_size`` as well.
        logs: one log for all, or one for each seed; on one device, where everything is trained.
        config: see :class:`TrainingConfig`.
        seeds: different integers in [0, 2**63).
        evaluator: see :func:`train`.
        on_log: called with the run and each row of its history.
        on_done: called with each run when its fleet is done: keep it, and what comes later can be
            stopped without loss.
        fleet_size: most learners in one batched computation; ``None``: 8 on a CPU, whose caches
            hold no more, 512 elsewhere.
        progress: show rate and time left on a terminal.
        **options: dtype, precision and execution of
            :class:`recsim_drpo.agents.engine.options.EngineOptions`, which agents from outside do
            not have.

    Returns:
        what became of each run: agent by agent, variant by variant, seed by seed.

    Raises:
        ValueError: an unknown agent or hyper-parameter, or a seed without a log; before anything is
            trained.
    """
    config = TrainingConfig() if config is None else config
    seeds = check_seeds(list(seeds))
    for name, variants in agents.items():
        check_variants(name, variants)
    log_of = {seed: logs if isinstance(logs, Transitions) else logs.get(seed) for seed in seeds}
    for seed, log in log_of.items():
        if log is None:
            raise ValueError(f"There is no log for seed {seed}.")
    found_logs = {seed: log for seed, log in log_of.items() if log is not None}
    device = found_logs[seeds[0]].device
    size = _FLEET_SIZES.get(device.type, 512) if fleet_size is None else fleet_size
    check_integer("fleet_size", size, 1)
    shape = {
        "observation_dim": found_logs[seeds[0]].observation_dim,
        "action_dim": found_logs[seeds[0]].action_dim,
        "device": device,
        **options,
    }
    work = [
        piece
        for name, variants in agents.items()
        for piece in _pieces(name, variants, config, shape)
    ]
    done: dict[_Key, Trained] = {}
    for piece in work:
        for part in _chunks(piece, seeds, size):
            trainer = _train_plain if piece.algorithm is None else _train_chunk
            for key, one in trainer(part, found_logs, shape, evaluator, on_log, progress):
                done[key] = replace(one, options=options)
                if on_done is not None:
                    on_done(done[key])
    return [
        done[name, number, seed]
        for name, variants in agents.items()
        for number in range(len(variants))
        for seed in seeds
    ]


@dataclass(frozen=True)
class _Piece:
    """Variants of an agent that share a structure, with the numbers that they were given by."""

    name: str
    algorithm: Algorithm | None
    config: TrainingConfig
    variants: dict[int, dict[str, Any]]
    seeds: tuple[int, ...] = ()


def _pieces(
    name: str,
    variants: Sequence[Mapping[str, Any]],
    config: TrainingConfig,
    shape: Mapping[str, Any],
) -> list[_Piece]:
    found = find_agent(name)
    algorithm = found if isinstance(found, Algorithm) else None
    pieces: dict[Any, _Piece] = {}
    for number, variant in enumerate(variants):
        overrides = _hyperparameters(variant)
        own = replace(config, batch_size=variant.get("batch_size", config.batch_size))
        structure: Any = None
        if algorithm is None:
            make_agent(name, **shape, **overrides)
        else:
            kind = f"hyper-parameter of {name!r}"
            structure = static_signature(build_config(algorithm.config, overrides, kind))
        empty = _Piece(name, algorithm, own, {})
        pieces.setdefault((own.batch_size, structure), empty).variants[number] = dict(variant)
    return list(pieces.values())


def _hyperparameters(variant: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in variant.items() if name != "batch_size"}


def _chunks(piece: _Piece, seeds: Sequence[int], size: int) -> Iterator[_Piece]:
    """Parts of at most ``size`` learners: whole variants where they fit."""
    numbers = list(piece.variants)
    for first in range(0, len(seeds), size):
        some = tuple(seeds[first : first + size])
        together = max(1, size // len(some))
        for start in range(0, len(numbers), together):
            variants = {n: piece.variants[n] for n in numbers[start : start + together]}
            yield _Piece(piece.name, piece.algorithm, piece.config, variants, some)


def _train_chunk(
    part: _Piece,
    logs: Mapping[int, Transitions],
    shape: Mapping[str, Any],
    evaluator: PolicyEvaluator | None,
    on_log: Callable[[Run, Row], None] | None,
    progress: bool,
) -> Iterator[tuple[_Key, Trained]]:
    variants = [_hyperparameters(variant) for variant in part.variants.values()]
    assert part.algorithm is not None
    fleet = Fleet(part.algorithm, seeds=part.seeds, overrides=variants, **shape)
    keys = [(part.name, number, seed) for number in part.variants for seed in part.seeds]
    runs = [Run(part.name, seed, part.variants[number]) for _, number, seed in keys]
    histories = train_fleet(
        fleet,
        [logs[run.seed] for run in runs],
        part.config,
        evaluator=evaluator,
        on_log=None if on_log is None else lambda k, row: on_log(runs[k], row),
        progress=progress,
        label=f"{part.name} x {len(fleet)}",
    )
    ends = fleet.diverged_at.tolist()
    dims = fleet.observation_dim, fleet.action_dim
    for k, key in enumerate(keys):
        ended = None if ends[k] < 0 else ends[k]
        yield key, Trained(runs[k], dims, {}, fleet.learner(k), histories[k], ended)


def _train_plain(
    part: _Piece,
    logs: Mapping[int, Transitions],
    shape: Mapping[str, Any],
    evaluator: PolicyEvaluator | None,
    on_log: Callable[[Run, Row], None] | None,
    progress: bool,
) -> Iterator[tuple[_Key, Trained]]:
    for number, variant in part.variants.items():
        for seed in part.seeds:
            run = Run(part.name, seed, variant)
            agent = make_agent(part.name, seed=seed, **shape, **_hyperparameters(variant))
            label, ended = f"{part.name}, seed {seed}", None

            def follow(row: Row, run: Run = run) -> None:
                if on_log is not None:
                    on_log(run, row)

            try:
                history = train(
                    agent,
                    logs[seed],
                    part.config,
                    seed=seed,
                    evaluator=evaluator,
                    on_log=follow,
                    progress=progress,
                    label=label,
                )
            except DivergedError as error:
                tqdm.write(f"{label}: {error}")
                history, ended = error.history, error.step
            dims = shape["observation_dim"], shape["action_dim"]
            yield (part.name, number, seed), Trained(run, dims, {}, agent, history, ended)
