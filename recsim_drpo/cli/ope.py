"""``recsim-drpo ope``: the value of runs from a log alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsim_drpo.cli.arguments import (
    Decoder,
    Device,
    Normalize,
    RunFolders,
    integer,
    number,
    run_folders,
)

if TYPE_CHECKING:
    from minari import MinariDataset

    from recsim_drpo.core.policy import Policy
    from recsim_drpo.ope.logs import ItemLog
    from recsim_drpo.simulator.catalogue import Catalogue

Dataset = Annotated[
    str,
    typer.Option(
        "--dataset", help="Id of a local Minari dataset that the runs have not learnt from."
    ),
]
Samples = Annotated[
    int,
    typer.Option(
        "--samples",
        parser=integer,
        help="Draws in each context of the stochastic policy; 0 for the deterministic one.",
    ),
]
Clusters = Annotated[
    int | None,
    typer.Option("--clusters", parser=integer, help="Of items, for mips.", show_default="√items"),
]
Embeddings = Annotated[
    str | None,
    typer.Option(
        "--embeddings",
        help="File of the catalogue as it is now, or where the dataset has none.",
        show_default="the dataset's",
    ),
]
Estimate = Annotated[
    bool,
    typer.Option(
        "--estimate-propensities",
        help="Estimate the propensities, where none were logged.",
        show_default="off",
    ),
]
HeldOut = Annotated[
    float | None,
    typer.Option(
        "--held-out",
        parser=number,
        metavar="SHARE",
        help="Only the rounds that train --held-out SHARE leaves out of an imported log.",
        show_default="all rounds",
    ),
]
Seed = Annotated[int, typer.Option("--seed", parser=integer, help="Of models, clusters and draws.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Folder for ope.json, .md and .png.", show_default="printed only"),
]


def ope(
    runs: RunFolders,
    dataset: Dataset,
    samples: Samples = 0,
    clusters: Clusters = None,
    embeddings: Embeddings = None,
    normalize: Normalize = False,
    estimate_propensities: Estimate = False,
    held_out: HeldOut = None,
    seed: Seed = 0,
    out: Out = None,
    decoder: Decoder = None,
    device: Device = "cpu",
) -> None:
    """Value of trained runs from a log alone: off-policy evaluation."""
    from recsim_drpo.core.files import check_new_folder
    from recsim_drpo.core.validation import check_integer
    from recsim_drpo.datasets.items import resolve_decoder
    from recsim_drpo.datasets.load import open_dataset
    from recsim_drpo.datasets.staging import sweep_datasets
    from recsim_drpo.ope import report
    from recsim_drpo.ope.evaluator import OffPolicyEvaluator
    from recsim_drpo.ope.limits import MAX_SAMPLES
    from recsim_drpo.ope.logs import read_item_log
    from recsim_drpo.ope.split import held_out_part
    from recsim_drpo.runs.folder import load_config
    from recsim_drpo.simulator.retrieval import check_decoder

    check_integer("--samples", samples, 0, MAX_SAMPLES)
    if out is not None:
        check_new_folder(out)
    configs = {folder: load_config(folder) for folder in run_folders(runs)}
    sweep_datasets()
    logged = open_dataset(dataset)
    log = read_item_log(logged, embeddings=embeddings, normalize=normalize, device=device)
    if held_out is not None:
        log = held_out_part(log, logged, held_out)
    _check_fit(configs, logged, log)
    by = resolve_decoder(logged if embeddings is None else Path(embeddings), decoder)
    check_decoder(by, log.num_items, log.embeddings.shape[1], device)
    notes = _catalogue_notes(configs, logged, log, embeddings)
    if log.propensities is None and not estimate_propensities:
        notes.append("The log has no propensities; --estimate-propensities estimates them.")
    agents = _loaded(configs, device, samples)
    evaluator = OffPolicyEvaluator(
        log,
        num_clusters=clusters,
        seed=seed,
        estimate=estimate_propensities,
        progress=True,
        decoder=by,
    )
    results = {name: evaluator(agent, samples=samples) for name, agent in agents.items()}
    print(report.as_text(results, notes))
    for folder, config in configs.items():
        if problem := _learnt_from(config["source"], logged, held_out):
            print(f"\n{folder.as_posix()} {problem}")
    if out is not None and (problem := report.save(out, results, notes)):
        print(problem)


def _loaded(folders: Iterable[Path], device: str, samples: int) -> dict[str, Policy]:
    """The agents of runs by their folders; ``ValueError`` where one cannot draw ``samples``."""
    from recsim_drpo.runs.folder import load_agent

    agents: dict[str, Policy] = {}
    for folder in folders:
        name, agent = folder.as_posix(), load_agent(folder, device=device)
        if samples and not callable(getattr(agent, "sample", None)):
            raise ValueError(f"{name!r} has no method 'sample' to draw by; leave out --samples.")
        agents[name] = agent
    return agents


def _learnt_from(
    source: Mapping[str, Any], dataset: MinariDataset, held_out: float | None
) -> str | None:
    """Why a run's value is overestimated by a log, or ``None`` where it has not learnt from it."""
    from recsim_drpo.runs.description import datasets_of

    if dataset.id not in datasets_of(source):
        return None
    kept, rounds = source.get("held_out") or 0.0, source.get("num_rounds")
    if held_out is not None and held_out <= kept and rounds == int(dataset.total_steps):
        return None
    rest = ""
    if kept and rounds == int(dataset.total_steps):
        rest = f" All but its last rounds, that is: --held-out {kept:g} is those."
    return f"learnt from this very log: its value is overestimated.{rest}"


def _check_fit(
    configs: Mapping[Path, dict[str, Any]], dataset: MinariDataset, log: ItemLog
) -> None:
    """Raise ``ValueError`` unless all runs act on a dataset's contexts and items.

    Args:
        configs: the runs' configurations, by their folders.
        dataset: the log.
        log: its rounds.
    """
    from recsim_drpo.datasets.imported import imported_context, is_imported

    dims = log.contexts.shape[1], log.embeddings.shape[1]
    for folder, config in configs.items():
        theirs = config["observation_dim"], config["action_dim"]
        if theirs != dims:
            raise ValueError(
                f"{str(folder)!r} acts from {theirs[0]} to {theirs[1]} dimensions, dataset "
                f"{dataset.id!r} has contexts of {dims[0]} and items of {dims[1]}."
            )
        coding = config["source"].get("context")
        if coding and is_imported(dataset) and coding != imported_context(dataset):
            raise ValueError(
                f"The contexts of {dataset.id!r} are not coded as those that {str(folder)!r} "
                "learnt from; import the log with --columns and the columns.json of that dataset."
            )


def _catalogue_notes(
    configs: Mapping[Path, dict[str, Any]],
    dataset: MinariDataset,
    log: ItemLog,
    embeddings: str | None,
) -> list[str]:
    """Sentences on items that are not those of the log, or not those that a run learnt on.

    Args:
        configs: the runs' configurations, by their folders.
        dataset: the log.
        log: its rounds.
        embeddings: file of the catalogue, if one was given.

    Raises:
        ValueError: a run learnt on a catalogue that has nothing to do with this one.
    """
    from recsim_drpo.datasets.soundness import metadata_of
    from recsim_drpo.simulator.catalogue import Catalogue

    notes, shown = [], log.num_items
    if log.num_gone:
        rounds = int((log.items >= shown).sum())
        gone = f"{log.num_gone:,} items of the log are gone from the catalogue"
        notes.append(f"{gone}; {rounds:,} rounds show them, which no policy can match.")
    if embeddings is None and metadata_of(dataset).get("catalogue_checksum") is None:
        return notes
    present = Catalogue(log.embeddings[:shown].cpu().numpy(), log.item_ids[:shown])
    for folder, config in configs.items():
        learnt_on = config["source"].get("catalogue_checksum")
        if learnt_on in (None, present.checksum):
            continue
        change = _change(folder, config, present, dataset.id, given=embeddings is not None)
        notes.append(f"{folder.as_posix()} learnt on another state of the catalogue: {change}.")
    return notes


def _change(
    folder: Path, config: Mapping[str, Any], present: Catalogue, dataset: str, *, given: bool
) -> str:
    """What changed in the catalogue since a run learnt on it."""
    from recsim_drpo.datasets.items import resolve_items
    from recsim_drpo.ope.catalogues import CatalogueChange

    another = f"{str(folder)!r} learnt on another catalogue than that of {dataset!r}"
    try:
        former = resolve_items(config["source"])
    except (FileNotFoundError, ValueError) as error:
        if not given:
            raise ValueError(f"{another}: {error}") from error
        return "what changed cannot be told, its log being gone or another by now"
    change = CatalogueChange.between(former, present)
    if change.is_another:
        raise ValueError(
            f"{another}: of {change.num_common:,} items of both, {len(change.moved):,} have "
            "another vector."
        )
    return str(change)
