"""Log rounds of the mixed logging agent into a packed Minari dataset."""

from __future__ import annotations

import copy
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from minari import MinariDataset
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from tqdm import tqdm

from recsim_drpo.core.torch_settings import threads
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.core.validation import check_integer, check_seed, unknown_name
from recsim_drpo.datasets.generation.card import write_card
from recsim_drpo.datasets.generation.rounds import RoundLog
from recsim_drpo.datasets.generation.sessions import SessionLog
from recsim_drpo.datasets.generation.source import Log
from recsim_drpo.datasets.load import transitions_of_episodes
from recsim_drpo.datasets.shards import WHOLE, Shard, check_shard
from recsim_drpo.datasets.staging import check_id, new_dataset
from recsim_drpo.envs.registration import ENV_ID, ENVIRONMENTS, register
from recsim_drpo.envs.spec import WorldSpec
from recsim_drpo.simulator.config import POLICIES, LoggingConfig
from recsim_drpo.simulator.decoder_names import parse_decoder
from recsim_drpo.simulator.logging_agent import LoggingAgent, mixture_weights
from recsim_drpo.simulator.reference_policies import session_logging_agent
from recsim_drpo.simulator.sessions import Sessions

_PERMALINK = "recsim-drpo=={version}: recsim_drpo/datasets/generate.py"


def generate_dataset(
    dataset_id: str,
    *,
    env: str = ENV_ID,
    scenario: str | Mapping[str, float] = "medium",
    num_rounds: int = 100_000,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
    logging_config: LoggingConfig | None = None,
    device: str = "cpu",
    card: bool = True,
    progress: bool = True,
    author: str = "recsim_drpo contributors",
    author_email: str | None = None,
    code_permalink: str | None = None,
    shard: Shard | tuple[int, int] | None = None,
) -> MinariDataset:
    """Log rounds and keep them as a local Minari dataset.

    The same arguments give the same bytes of every array on one kind of device and one version of
    the libraries, whatever the number of threads. Memory does not grow with ``num_rounds``. The
    dataset appears whole or not at all.

    Args:
        dataset_id: Minari id, ``(namespace/)name-v0``.
        env: ``"RecSimZipf-v0"``, or ``"RecSimZipfSession-v0"`` to log sessions: an episode each.
        scenario: ``"medium"`` or ``"extreme"`` (Table 4), or weights by component, for example
            ``{"expert": 0.2, "random": 0.8}``.
        num_rounds: rounds to log, ≥ 1; of sessions, whole ones until there are that many rounds.
        seed: integer in [0, 2**63) of users, choices and reward noise.
        env_kwargs: keyword arguments of the environment that define its world; ``embeddings``
            must be a path, and ``decoder`` a name, so that the environment can be recovered from
            the dataset.
        logging_config: how the components choose; ``None`` is the calibrated one.
        device: where rounds are computed.
        card: write a dataset card, README.md with pictures (these need the extra ``plots``), beside
            the data.
        progress: show rate and time left on a terminal.
        author: for the dataset's metadata.
        author_email: likewise; ``None`` leaves it out.
        code_permalink: likewise; ``None`` names this package and its version.
        shard: log one part of the rounds alone, ``(k, K)`` for the k-th of K: whole episodes, those
            of all parts in order being, to the bit, those of the log (see
            :class:`.shards.Shard`, and :func:`.shards.shard_ids` for ids). Parts of rounds cost
            what they hold; for one of sessions all before it are played as well.

    Returns:
        the dataset. Its infos are ``item_id`` (int64), ``policy`` (int8: 0 random, 1 popularity, 2
        expert), ``propensity`` (float64, of the item under the mixture), ``latent_reward`` and
        ``oracle_reward`` (float32); of sessions ``topic`` (int64) as well.
        ``recover_environment()`` gives the environment with training users,
        ``recover_environment(eval_env=True)`` with test users.

    Raises:
        ValueError: an id that Minari's grammar refuses or that exists, an unknown scenario or world
            parameter, a value out of its range, a device that is not there; shards so many that one
            would be empty.
        OSError: the folder cannot be written or the disk is (or would be) full; nothing is left.
        RuntimeError: another process is generating this dataset.
    """
    check_id(dataset_id)
    check_integer("num_rounds", num_rounds, 1)
    check_seed(seed)
    mixture_weights(scenario)
    spec = _env_spec(env, env_kwargs or {})
    log = _make_log(spec, scenario, logging_config, device)
    part = WHOLE if shard is None else Shard(*shard)
    check_shard(part, num_rounds, log.longest if shard else 1)
    world = log.agent.world
    if world.config.embeddings is not None:
        spec.kwargs["embeddings_checksum"] = world.catalogue.checksum
    evaluation_spec = copy.deepcopy(spec)
    evaluation_spec.kwargs["split"] = "test"
    observation_space, action_space = log.spaces
    metadata = _metadata(dataset_id, scenario, num_rounds, seed, log, evaluation_spec) | {
        "author": {author},
        "code_permalink": code_permalink or _PERMALINK.format(version=version("recsim-drpo")),
    }
    if author_email is not None:
        metadata["author_email"] = {author_email}

    size = -(-num_rounds // part.of)
    needed = int(1.02 * size * log.bytes_per_round()) + 16 * 2**20
    with new_dataset(dataset_id, f"{size:,} rounds", needed) as staging:
        (staging / "data").mkdir()
        storage = MinariStorage.new(
            staging / "data",
            observation_space=observation_space,
            action_space=action_space,
            env_spec=spec,
            data_format="hdf5",
        )
        storage.update_metadata(metadata)
        first_round = _write_rounds(storage, log, seed, num_rounds, part, progress)
        if shard is not None:
            storage.update_metadata(_about_shard(metadata, part, first_round, num_rounds))
        storage.update_metadata({"logged_mean_reward": log.statistics.mean_reward})
        if card:
            write_card(staging, dataset_id, metadata | storage.metadata, log)
    return minari.load_dataset(dataset_id)


def simulate_transitions(
    *,
    env: str = ENV_ID,
    scenario: str | Mapping[str, float] = "medium",
    num_rounds: int = 100_000,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
    logging_config: LoggingConfig | None = None,
    device: str = "cpu",
    infos: Sequence[str] = (),
) -> Transitions:
    """The transitions that :func:`generate_dataset` would log, as tensors, without a file.

    For experiments that draw many logs and keep none: the same arguments give the transitions that
    ``load_transitions(generate_dataset(...), items=True)`` gives: ids of the world's items.

    Args:
        env: as for :func:`generate_dataset`, and so are the next five.
        scenario: likewise.
        num_rounds: likewise.
        seed: likewise.
        env_kwargs: likewise.
        logging_config: likewise.
        device: where rounds are computed and tensors lie.
        infos: info columns to bring along.

    Raises:
        ValueError: as :func:`generate_dataset`.
    """
    check_integer("num_rounds", num_rounds, 1)
    check_seed(seed)
    log = _make_log(_env_spec(env, env_kwargs or {}), scenario, logging_config, device)
    blocks = _episode_blocks(log, seed, num_rounds)
    episodes = [episode for _, block in blocks for episode in block]
    widths = {
        name: int(np.prod(space.shape))
        for name, space in zip(("observation", "action"), log.spaces, strict=True)
    }
    total = sum(len(episode.rewards) for episode in episodes)
    world = log.agent.world
    table = world.catalogue.embeddings
    return transitions_of_episodes(
        episodes, total, len(episodes), widths, infos, world.device, "simulated", table
    )


def _make_log(
    spec: EnvSpec,
    scenario: str | Mapping[str, float],
    logging_config: LoggingConfig | None,
    device: str,
) -> Log:
    ours = WorldSpec.of(spec)
    assert ours is not None
    world = ours.world(device)
    if isinstance(world, Sessions):
        return SessionLog(session_logging_agent(world, scenario, logging_config), world)
    return RoundLog(LoggingAgent(world, scenario, logging_config))


def _env_spec(env: str, env_kwargs: Mapping[str, Any]) -> EnvSpec:
    """The spec with these kwargs, checked to survive JSON; paths made absolute."""
    if env not in ENVIRONMENTS:
        raise unknown_name("environment", env, ENVIRONMENTS)
    kwargs = dict(env_kwargs)
    for name in ("render_mode", "device", "split"):
        if name in kwargs:
            raise ValueError(f"env_kwargs define the world; {name!r} is not part of it.")
    if "decoder" in kwargs:
        kwargs["decoder"] = str(parse_decoder(kwargs["decoder"]))
    if isinstance(kwargs.get("embeddings"), (str, Path)):
        kwargs["embeddings"] = str(Path(kwargs["embeddings"]).resolve())
    elif kwargs.get("embeddings") is not None:
        raise ValueError(
            "embeddings must be a path here, so that the environment can be recovered from the "
            "dataset; save the array with numpy.save first."
        )
    register()
    spec = copy.deepcopy(gym.spec(env))
    spec.kwargs.update(kwargs)
    try:
        json.dumps(spec.kwargs)
    except TypeError as error:
        raise ValueError(f"env_kwargs cannot be written as JSON: {error}.") from error
    return spec


def _metadata(
    dataset_id: str,
    scenario: str | Mapping[str, float],
    num_rounds: int,
    seed: int,
    log: Log,
    evaluation_spec: EnvSpec,
) -> dict[str, Any]:
    agent, world = log.agent, log.agent.world
    weights = dict(zip(POLICIES, agent.weights, strict=True))
    name = scenario if isinstance(scenario, str) else "custom"
    references = log.references()
    return {
        "dataset_id": dataset_id,
        "minari_version": version("minari"),
        "algorithm_name": f"recsim_drpo.LoggingAgent, scenario {name!r}",
        "description": (
            f"{num_rounds:,} {log.unit} of {evaluation_spec.id} logged by the mixture {weights} "
            f"(scenario {name!r}, seed {seed}). {log.packing['rule']}"
        ),
        "requirements": [f"recsim-drpo>={version('recsim-drpo')}"],
        "eval_env_spec": evaluation_spec.to_json(),
        "ref_min_score": references.low,
        "ref_max_score": references.high,
        "num_episodes_average_score": references.num_users,
        "reference_scores": (
            f"{references.score} on test users: {references.low_name} {references.low:.3f}, "
            f"{references.high_name} {references.high:.3f}"
        ),
        "packing": log.packing,
        "scenario": name,
        "weights": weights,
        "logging_config": asdict(agent.config),
        "seed": seed,
        "catalogue_checksum": world.catalogue.checksum,
        "created_with": {
            "recsim_drpo": version("recsim-drpo"),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "device": world.device.type,
        },
    }


def _about_shard(
    metadata: Mapping[str, Any], shard: Shard, first_round: int, num_rounds: int
) -> dict[str, Any]:
    """What the metadata of a shard have besides the log's."""
    where = f"Shard {shard.number} of {shard.of}, from round {first_round:,} on."
    return {
        "description": f"{metadata['description']} {where}",
        "shard": {**shard._asdict(), "first_round": first_round, "num_rounds": num_rounds},
    }


def _write_rounds(
    storage: MinariStorage, log: Log, seed: int, num_rounds: int, shard: Shard, progress: bool
) -> int:
    """Write the episodes of a shard of ``num_rounds`` rounds in order; the number of its first."""
    first_round = -1
    with tqdm(
        total=-(-num_rounds // shard.of),
        desc="generate",
        unit="round",
        unit_scale=True,
        disable=None if progress else True,
    ) as bar:
        for done, episodes in _episode_blocks(log, seed, num_rounds, shard):
            first_round = done if first_round < 0 else first_round
            storage.update_episodes(episodes)
            log.count(episodes)
            bar.update(sum(len(episode.rewards) for episode in episodes))
    return first_round


def _episode_blocks(
    log: Log, seed: int, num_rounds: int, shard: Shard = WHOLE
) -> Iterator[tuple[int, list[EpisodeBuffer]]]:
    """Blocks of a shard's episodes in order, each with the number of its first round."""
    done, starts = log.starts_of(shard, num_rounds)
    for block in _computed_ahead(log, seed, num_rounds, starts):
        episodes: list[EpisodeBuffer] = []
        first = done
        for episode in block:
            place = 1 if done >= num_rounds else shard.place(done, num_rounds)
            if place > 0:
                break
            if place == 0:
                first = first if episodes else done
                episodes.append(episode)
            done += len(episode.rewards)
        if episodes:
            yield first, episodes
        if done >= num_rounds or shard.place(done, num_rounds) > 0:
            return


def _computed_ahead(
    log: Log, seed: int, num_rounds: int, starts: Iterator[int]
) -> Iterator[list[EpisodeBuffer]]:
    """Blocks of episodes in order, computed ahead by as many workers as torch has threads.

    Each block is computed by one thread: how the work is shared then cannot change a sum.
    """

    def compute(start: int) -> list[EpisodeBuffer]:
        return log.block(seed, start, num_rounds)

    if log.agent.world.device.type != "cpu":
        yield from map(compute, starts)
        return
    workers = torch.get_num_threads()
    with (
        threads(1),
        ThreadPoolExecutor(workers, initializer=lambda: torch.set_num_threads(1)) as pool,
    ):
        pending: list[Future[list[EpisodeBuffer]]] = [
            pool.submit(compute, start) for start in islice(starts, workers + 1)
        ]
        try:
            while pending:
                yield pending.pop(0).result()
                pending += [pool.submit(compute, start) for start in islice(starts, 1)]
        finally:
            for future in pending:
                future.cancel()
