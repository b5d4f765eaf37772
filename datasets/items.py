"""Find the items of a dataset, a run or a file, with one rule of unit length."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minari import MinariDataset

from recsim_drpo.core.messages import shown
from recsim_drpo.datasets.soundness import open_dataset
from recsim_drpo.envs.spec import WorldSpec
from recsim_drpo.simulator.catalogue import Catalogue
from recsim_drpo.simulator.decoder_names import EXACT
from recsim_drpo.simulator.embeddings import load_embeddings

ITEMS_FILE = "items.npz"
"""File of an imported dataset: ``embeddings`` (N, d) of unit length, ``item_ids`` (N,)."""

MEND = "give its items' vectors by --embeddings FILE."


class NoItemsError(ValueError):
    """Error for a log without a catalogue: not of our environments, and not imported."""


def resolve_items(
    source: MinariDataset | Mapping[str, Any] | str | Path, *, normalize: bool = False
) -> Catalogue:
    """The items that policies choose from.

    Args:
        source: a dataset; what a run remembers of its log (``load_config(run)["source"]``); or the
            path of a file for :func:`recsim_drpo.simulator.embeddings.load_embeddings`.
        normalize: scale a file's rows to unit length. ``False`` refuses rows of another length.

    Returns:
        of a dataset, or of a run, the catalogue of its environment, or of an imported log the
        vectors that are kept beside it.

    Raises:
        FileNotFoundError: there is no such file, or the imported log of a run is gone.
        NoItemsError: the log names no catalogue.
        ValueError: a row that is not of unit length, as :meth:`Catalogue.of_vectors` says; the
            items have changed since a run learnt from them; ``normalize`` where there is no file.
    """
    if isinstance(source, (str, Path)):
        return Catalogue.of_vectors(*load_embeddings(source), normalize=normalize)
    if normalize:
        raise ValueError("--normalize is about a file of vectors, and none is given.")
    if isinstance(source, MinariDataset):
        return _items_of_dataset(source)
    return _items_of_run(source)


def resolve_decoder(
    source: MinariDataset | Mapping[str, Any] | str | Path, given: str | None = None
) -> str:
    """The name of the decoder that finds these items: the one given, else that of their world.

    Args:
        source: as for :func:`resolve_items`; a file names no decoder.
        given: a name, see :mod:`recsim_drpo.simulator.decoder_names`.

    Returns:
        ``"exact"`` where neither says anything else.
    """
    if given is not None:
        return given
    if isinstance(source, (str, Path)):
        return EXACT
    spec = source.spec.env_spec if isinstance(source, MinariDataset) else source.get("env_spec")
    ours = WorldSpec.of(spec)
    return EXACT if ours is None else ours.decoder


def _items_of_dataset(dataset: MinariDataset) -> Catalogue:
    ours = WorldSpec.of(dataset.spec.env_spec)
    if ours is not None:
        return ours.catalogue()
    beside = Path(dataset.spec.data_path).parent / ITEMS_FILE
    if not beside.is_file():
        raise NoItemsError(f"Dataset {dataset.id!r} names no catalogue; {MEND}")
    return resolve_items(beside)


def _items_of_run(source: Mapping[str, Any]) -> Catalogue:
    ours = WorldSpec.of(source.get("env_spec"))
    if ours is not None:
        return ours.catalogue()
    if source.get("context") is None or source.get("dataset") is None:
        raise NoItemsError(
            f"The run's log, {shown(source.get('dataset'))}, names no catalogue; {MEND}"
        )
    try:
        dataset = open_dataset(source["dataset"])
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The run's log, {shown(source['dataset'])}, is gone; {MEND}"
        ) from error
    items = _items_of_dataset(dataset)
    if items.checksum != source.get("catalogue_checksum"):
        raise ValueError(
            f"The items of {shown(source['dataset'])} have changed since the run learnt from it; "
            f"{MEND}"
        )
    return items
