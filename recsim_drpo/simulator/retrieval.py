"""Decoders by their names, checked before work, and how much an approximate one misses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recsim_drpo.core.messages import shown
from recsim_drpo.simulator.decoder import Decoder, ExactDecoder, found
from recsim_drpo.simulator.decoder_names import (
    AUTO,
    EXACT,
    FAISS,
    INDEX,
    DecoderName,
    parse_decoder,
)

AUTO_FROM = 20_000
"""Items from which ``auto`` is an inverted file on a CPU; below, exact search is about as quick."""

SAMPLE = 1_000
"""Queries at most on which an approximate decoder is held against exact search."""


def check_decoder(
    name: str | DecoderName, num_items: int, dim: int, device: str | torch.device = "cpu"
) -> DecoderName:
    """Read a decoder's name and check that it fits so many items, before anything is built.

    Args:
        name: see :mod:`.decoder_names`.
        num_items: N.
        dim: d.
        device: where the items are; ``auto`` is exact on any but a CPU.

    Returns:
        the name, ``auto`` replaced by what is tried for it here.

    Raises:
        ValueError: no decoder's name; faiss is missing, or refuses it (its reason, and the nearest
            that it takes); more lists than items, or more probes than lists; an index that is not
            there or has another shape.
    """
    parsed = parse_decoder(name) if not isinstance(name, DecoderName) else name
    if parsed.kind == AUTO:
        if num_items < AUTO_FROM or torch.device(device).type != "cpu":
            return DecoderName(EXACT)
        from recsim_drpo.simulator.faiss_engine import auto_factory

        parsed = DecoderName(FAISS, auto_factory(num_items, dim), recall=parsed.recall)
    if parsed.kind == FAISS:
        from recsim_drpo.simulator.faiss_engine import empty_index

        empty_index(parsed, num_items, dim)
    if parsed.kind == INDEX:
        from recsim_drpo.simulator.faiss_engine import require_faiss
        from recsim_drpo.simulator.index_files import read_about

        require_faiss()
        shape = read_about(Path(parsed.what))["shape"]
        if shape != [num_items, dim]:
            raise ValueError(
                f"decoder {shown(str(parsed))} holds vectors of shape {tuple(shape)}; the items' "
                f"is {(num_items, dim)}."
            )
    return parsed


def make_decoder(name: str | DecoderName, embeddings: Tensor) -> Decoder:
    """The decoder of a name; an index is built where none is kept, see :mod:`.index_files`.

    Args:
        name: see :mod:`.decoder_names`.
        embeddings: float32 (N, d), rows of unit length, so that inner product is cosine.

    Raises:
        ValueError: as :func:`check_decoder`; a named index is damaged or of another catalogue.
    """
    num_items, dim = embeddings.shape
    parsed = parse_decoder(name) if not isinstance(name, DecoderName) else name
    checked = check_decoder(parsed, num_items, dim, embeddings.device)
    if checked.kind == EXACT:
        return ExactDecoder(embeddings)
    from recsim_drpo.simulator.faiss_decoder import kept_decoder, named_decoder

    if checked.kind == INDEX:
        return named_decoder(checked, embeddings)
    decoder = kept_decoder(checked, embeddings)
    if parsed.kind == AUTO:
        from recsim_drpo.simulator.faiss_engine import auto_probes

        if decoder.settings["nprobe"] > auto_probes(decoder.lists, dim):
            return ExactDecoder(embeddings)  # which is quicker
    return decoder


def is_exact(decoder: Any) -> bool:
    """Whether a decoder is known to score every item."""
    return isinstance(decoder, ExactDecoder)


def label(decoder: Any) -> str:
    """By what tables name a decoder: its name, or else its class's."""
    return EXACT if is_exact(decoder) else str(getattr(decoder, "name", type(decoder).__name__))


def recall(decoder: Decoder, embeddings: Tensor, queries: Tensor) -> Tensor:
    """Whether a decoder finds the best item of each query, held against exact search: bool (B,).

    Args:
        decoder: searches the items.
        embeddings: float32 (N, d) of the items.
        queries: float32 (B, d) of unit length; ones that are not finite are left out.
    """
    known = queries[torch.isfinite(queries).all(dim=1)]
    return found(decoder, embeddings, known, ExactDecoder(embeddings).search(known)[0])


def sampled_recall(decoder: Decoder, embeddings: Tensor) -> float:
    """The recall@1 of a decoder on sampled queries, in [0, 1], where none are at hand.

    Args:
        decoder: searches the items.
        embeddings: float32 (N, d) of the items, of which queries are made, see
            :func:`.faiss_decoder.sampled_queries`.
    """
    from recsim_drpo.simulator.faiss_decoder import sampled_queries

    return float(recall(decoder, embeddings, sampled_queries(embeddings)).to(torch.float32).mean())
