"""The top-k items of contexts, from a trained run and a catalogue."""

from __future__ import annotations

import json
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from recsim_drpo.agents.protocol import Agent
from recsim_drpo.core.files import write_atomically
from recsim_drpo.core.policy import as_observations, checked_actions
from recsim_drpo.core.torch_settings import resolve_device
from recsim_drpo.core.validation import check_integer
from recsim_drpo.datasets.importing.coding import ContextCoder
from recsim_drpo.datasets.importing.table import Log
from recsim_drpo.datasets.items import resolve_decoder, resolve_items
from recsim_drpo.runs import folder as runs
from recsim_drpo.serving.exploration import Exploration, Shown, explore
from recsim_drpo.serving.formats import STREAM
from recsim_drpo.serving.ranking import Allowed, Cap, Ranker, RankingRecall, ranking_recall
from recsim_drpo.serving.readers import ROW, ContextTable, Piece, open_contexts
from recsim_drpo.serving.refusals import reported_refusals
from recsim_drpo.serving.rules import ItemRules, Rules
from recsim_drpo.serving.writers import Recommendations, open_recommendations
from recsim_drpo.simulator.catalogue import Catalogue
from recsim_drpo.simulator.decoder import NO_ITEM, Decoder
from recsim_drpo.simulator.decoder_names import EXACT
from recsim_drpo.simulator.retrieval import SAMPLE, check_decoder, is_exact, make_decoder

_CELLS = 2**20
_ROWS = 4096


def items_of_run(
    config: Mapping[str, Any], *, embeddings: str | Path | None = None, normalize: bool = False
) -> Catalogue:
    """The items that a run's policy chooses from.

    Args:
        config: of the run, by :func:`recsim_drpo.runs.folder.load_config`.
        embeddings: a file in place of the items of the run's log, see
            :func:`recsim_drpo.datasets.items.resolve_items`.
        normalize: scale that file's rows to unit length.

    Raises:
        FileNotFoundError, ValueError: as :func:`resolve_items`, or the items are of another
            dimension than the policy's actions.
    """
    source = config["source"] if embeddings is None else Path(embeddings)
    items = resolve_items(source, normalize=normalize)
    if items.dim != config["action_dim"]:
        raise ValueError(
            f"The items' vectors have {items.dim} dimensions; the policy's actions have "
            f"{config['action_dim']}."
        )
    return items


class Recommender:
    """A policy and the items that it chooses from.

    Args:
        agent: the policy.
        items: the catalogue that it chooses from.
        observation_dim: o ≥ 1, of a context.
        device: where items are looked up.
        coding: codes columns as contexts, where the policy learnt from an imported log.
        decoder: how items are found, by a name of :mod:`recsim_drpo.simulator.decoder_names`.

    Attributes:
        agent, items, observation_dim, device, coding: as given.
        recall: what an approximate decoder found of the first contexts of the last table; ``None``
            where it is exact.

    Raises:
        ValueError: as :func:`recsim_drpo.simulator.retrieval.make_decoder`.
    """

    def __init__(
        self,
        agent: Agent,
        items: Catalogue,
        observation_dim: int,
        device: str | torch.device = "cpu",
        coding: ContextCoder | None = None,
        decoder: str = EXACT,
    ) -> None:
        self.agent, self.items, self.observation_dim = agent, items, observation_dim
        self.device, self.coding = resolve_device(device), coding
        with warnings.catch_warnings():
            # A memory-mapped file is read-only, which torch warns of; nothing here writes to it.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
            vectors = torch.from_numpy(items.embeddings)
        vectors = vectors.to(self.device)
        self._ranker = Ranker(vectors, make_decoder(decoder, vectors))
        self.recall: RankingRecall | None = None

    @property
    def embeddings(self) -> Tensor:
        """The items' vectors, float32 (N, d), on the device."""
        return self._ranker.embeddings

    @property
    def decoder(self) -> Decoder:
        """What finds the items."""
        return self._ranker.decoder

    def top(
        self,
        contexts: Tensor | NDArray[np.float32],
        k: int = 10,
        *,
        allowed: Allowed | None = None,
        cap: Cap | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The k items of largest cosine with the policy's action.

        Args:
            contexts: float32 (B, o).
            k: from 1 to N.
            allowed: the items that each may have; ``None``: all.
            cap: at most so many of a group.

        Returns:
            scores: float32 (B, k) in [-1, 1], falling; −inf where fewer are allowed, whose row is
                −1.
            rows: int64 (B, k), rows of the items; ties: the smaller first. Both by the rule of
                :mod:`recsim_drpo.serving.ranking`.

        Raises:
            ValueError: another shape, k out of range, or an action that is not finite.
        """
        check_integer("k", k, 1, self.items.num_items)
        return self._ranker.top(self.actions(contexts), k, allowed, cap)

    def show(
        self,
        contexts: Tensor | NDArray[np.float32],
        k: int,
        exploration: Exploration,
        *,
        first: int = 0,
        allowed: Allowed | None = None,
        cap: Cap | None = None,
    ) -> Shown:
        """k items drawn for each context, with their propensities.

        Args:
            contexts: float32 (B, o).
            k: from 1 to N.
            exploration: how they are drawn.
            first: number of the first context, ≥ 0; those after it count on. One number and one
                seed are one draw, however many contexts come at once.
            allowed: as of :meth:`top`; propensities are those among these items.
            cap: likewise.

        Raises:
            ValueError: as :meth:`top`, or a field of ``exploration`` does not fit N and k.
        """
        actions = self.actions(contexts)
        numbers = torch.arange(first, first + len(actions), device=self.device)
        return explore(self._ranker, actions, k, exploration, numbers, allowed, cap)

    def actions(self, contexts: Tensor | NDArray[np.float32]) -> Tensor:
        """The policy's actions, finite (B, a), for contexts float32 (B, o).

        Raises:
            ValueError: another shape, or an action that is not finite.
        """
        inputs = as_observations(contexts, self.observation_dim, self.device)
        expected = (len(inputs), self.items.dim)
        actions = checked_actions(self.agent.act(inputs), expected, "contexts").to(self.device)
        finite = torch.isfinite(actions).all(dim=1)
        if not bool(finite.all()):
            row = int((~finite).to(torch.uint8).argmax())
            raise ValueError(
                f"The policy's action is not finite for {int((~finite).sum())} of {len(finite)} "
                f"contexts, for example {inputs[row].tolist()}."
            )
        return actions

    def recommend(
        self,
        contexts: Log | Sequence[Log],
        out: str | Path,
        *,
        k: int = 10,
        columns: Sequence[str] | None = None,
        id_column: str | None = None,
        input_format: str | None = None,
        output_format: str | None = None,
        exploration: Exploration | None = None,
        rules: Rules | None = None,
        escape: str | None = None,
        excel_safe: bool = False,
    ) -> int:
        """Write the top k items of each context of a table, of which memory holds one piece.

        Args:
            contexts: files, folders, patterns, ``"-"``, which is standard input, or objects that
                speak Arrow, see :func:`recsim_drpo.datasets.importing.table.open_log_table`.
            out: a file that is not there yet, and appears whole or not at all; or ``"-"``,
                standard output.
            k: from 1 to N.
            columns: see :func:`recsim_drpo.serving.readers.open_contexts`, as for the rest.
            id_column: the column whose values name the contexts in the result.
            input_format: ``None``: by the suffix.
            output_format: likewise.
            exploration: draw items, and write their propensities; ``None``: the best items.
            rules: which items may be shown; contexts that have fewer than k get fewer rows, and are
                counted in a ``UserWarning``.
            escape: of contexts as CSV, see :class:`recsim_drpo.core.csv_rows.CsvRows`.
            excel_safe: let no spreadsheet run ids of contexts and items as formulas, see
                :func:`recsim_drpo.core.spreadsheets.plain_cell`.

        A row that is no context is left out, listed in ``OUT.refused.csv`` and counted on standard
        error; of a stream it is counted. What an approximate decoder misses of the first contexts
        is in :attr:`recall`, and beside the file in ``OUT.retrieval.json``; where rules say which
        items may be shown, all of these are scored, and nothing is missed.

        Returns:
            the number of contexts.

        Raises:
            FileNotFoundError, FileExistsError, OSError: about the files.
            ValueError: as said there, and as for :meth:`top`.
        """
        target = Path(out)
        check_integer("k", k, 1, self.items.num_items)
        depth = k if exploration is None else exploration.check_depth(k, self.items.num_items)
        rows = max(1, min(_ROWS, _CELLS // depth))
        count, short, rules = 0, 0, rules or Rules()
        self._compared: list[NDArray[np.float32]] = []
        items = ItemRules(rules, self.items.item_ids, id_column=id_column, device=self.device)
        with open_recommendations(
            target,
            id_column or ROW,
            format=output_format,
            propensities=exploration is not None,
            excel_safe=excel_safe,
        ) as write:
            table = open_contexts(
                contexts,
                self.observation_dim,
                format=input_format,
                columns=columns,
                id_column=id_column,
                rows=rows,
                coding=self.coding,
                candidates=rules.candidates,
                escape=escape,
            )
            with closing(_reported(table, target, excel_safe)) as pieces:
                for piece in pieces:
                    found = self._recommendations(piece, k, exploration, items, count)
                    write(found)
                    count += len(piece.ids)
                    short += 0 if found.counts is None else int((found.counts < k).sum())
        self._tell_recall(k, target)
        _warn_of_fewer(short, count, k)
        return count

    def _tell_recall(self, k: int, target: Path) -> None:
        """Keep what the decoder misses of the first contexts, and write it beside their table."""
        self.recall = None
        if not self._compared:
            return
        self.recall = self.measured_recall(np.concatenate(self._compared), k)
        if target != STREAM:
            beside = target.with_name(f"{target.name}.retrieval.json")
            write_atomically(beside, json.dumps(self.recall._asdict(), indent=1) + "\n")

    def measured_recall(self, contexts: Tensor | NDArray[np.float32], k: int) -> RankingRecall:
        """What the decoder finds of the best items of contexts, held against exact search.

        Arguments and errors as of :meth:`top`, without rules.
        """
        return ranking_recall(self._ranker, self.actions(contexts), k)

    def _recommendations(
        self,
        piece: Piece,
        k: int,
        exploration: Exploration | None,
        items: ItemRules,
        first: int,
    ) -> Recommendations:
        """What is written for a piece of a table, whose first context has this number."""
        contexts, allowed = piece.contexts, items.allowed(piece.ids, piece.candidates)
        if allowed is None and first < SAMPLE and not is_exact(self.decoder):
            self._compared.append(contexts[: SAMPLE - first])
        if exploration is not None:
            scores, rows, drawn = self.show(
                contexts, k, exploration, first=first, allowed=allowed, cap=items.cap
            )
            propensities = drawn.cpu().numpy()
        elif allowed is None and items.cap is None:
            (scores, rows), propensities = self.top(contexts, k), None
        else:
            (scores, rows), propensities = (
                self.top(contexts, k, allowed=allowed, cap=items.cap),
                None,
            )
        names = self.items.item_ids[rows.cpu().numpy()]
        counts = (rows != NO_ITEM).sum(dim=1).cpu().numpy()
        return Recommendations(piece.ids, names, scores.cpu().numpy(), propensities, counts)


def _reported(table: ContextTable, out: Path, excel_safe: bool) -> Generator[Piece, None, None]:
    """The pieces of a table that have contexts; progress is shown, and what is refused listed."""
    with (
        tqdm(
            total=table.num_rows,
            desc="recommend",
            unit="context",
            disable=True if out == STREAM else None,
        ) as bar,
        reported_refusals(out, table.several, excel_safe=excel_safe) as refusals,
    ):
        for piece in table.pieces:
            refusals.add_all(piece.refused, piece.file)
            if piece.ids:
                yield piece
            bar.update(len(piece.ids) + len(piece.refused))


def _warn_of_fewer(short: int, count: int, k: int) -> None:
    """Warn the caller's caller of contexts that have fewer than k items, if there are any."""
    if short:
        few = f"fewer than {k} items that may be shown, and fewer rows"
        warnings.warn(f"{short} of {count} contexts have {few}.", stacklevel=3)


def load_recommender(
    run: str | Path,
    *,
    embeddings: str | Path | None = None,
    normalize: bool = False,
    device: str | torch.device = "cpu",
    decoder: str | None = None,
) -> Recommender:
    """The recommender that a trained run makes.

    Args:
        run: its folder.
        embeddings: see :func:`items_of_run`.
        normalize: likewise.
        device: where it acts and looks up.
        decoder: the name of one in place of that of the run's world, see
            :func:`recsim_drpo.datasets.items.resolve_decoder`.

    Raises:
        FileNotFoundError, ImportError, TypeError, ValueError: as
            :func:`recsim_drpo.runs.folder.load_agent` and :func:`items_of_run`.
    """
    config = runs.load_config(run)
    items = items_of_run(config, embeddings=embeddings, normalize=normalize)
    name = resolve_decoder(config["source"] if embeddings is None else Path(embeddings), decoder)
    check_decoder(name, items.num_items, items.dim, device)
    agent = runs.load_agent(run, device=device)
    context = config["source"].get("context")
    coding = None if context is None else ContextCoder.of_description(context)
    return Recommender(agent, items, config["observation_dim"], device, coding, name)
