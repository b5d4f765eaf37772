"""What faiss is asked: to make an index by its words, checked before work, and to fill it.

faiss is imported where it is used, and only there.

Source: Douze et al., *The Faiss library*, 2024 (arXiv:2401.08281).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from recsim_drpo.core.memory import check_memory
from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.core.validation import check_integer, unknown_name
from recsim_drpo.simulator.decoder_names import DecoderName

Vectors = NDArray[np.float32]

_WHERE = re.compile(r"^Error in .*? at \S+:\d+: ", re.DOTALL)
_CONDITION = re.compile(r"^Error: '.*?' failed: ", re.DOTALL)
_ROWS = 65_536  # added at a time
_POINTS_A_LIST, _POINTS_AT_LEAST = 64, 65_536  # to train on
_SEED = 1234  # faiss's own
_CODED_FROM = 32  # dimensions, below which reading vectors takes little longer than their codes
_KNOWN = (
    "Flat",
    "IVF#,Flat",
    "IVF#_HNSW#,Flat",
    "IVF#,SQ#",
    "IVF#,PQ#",
    "IVF#,PQ#,RFlat",
    "IVF#,PQ#x#fs",
    "IVF#,PQ#x#fs,RFlat",
    "OPQ#,IVF#,PQ#",
    "OPQ#,IVF#,PQ#,RFlat",
    "PCA#,IVF#,Flat",
    "IVF#,RaBitQ",
    "HNSW#",
    "HNSW#,PQ#",
    "HNSW#,SQ#",
    "NSG#",
    "PQ#",
    "PQ#x#fs",
    "SQ#",
)


def require_faiss() -> Any:
    """The package faiss; ``ValueError`` that says what to install where it is missing."""
    try:
        import faiss
    except ImportError as error:
        raise ValueError(
            'Decoders other than exact need faiss: pip install "recsim-drpo[faiss]".'
        ) from error
    return faiss


def reason(error: BaseException) -> str:
    """What faiss says of an error, in one line without where in its code that was."""
    return one_line(_CONDITION.sub("", _WHERE.sub("", str(error))))


class Structure:
    """The parts of an index that parameters of searching are about, wherever they are wrapped.

    Args:
        index: of faiss.

    Attributes:
        lists: inverted lists; 0 where there are none.
        limits: the least and the largest value of each parameter that the index has.
        settings: the values that they have now.
        least_points: rows that it takes at least to train it.
    """

    def __init__(self, index: Any, num_items: int) -> None:
        faiss = require_faiss()
        self.lists, self.least_points = 0, 1
        self.limits: dict[str, tuple[int, int]] = {}
        self.settings: dict[str, float] = {}
        self._training: list[Any] = []
        for part in _parts(faiss, index):
            if isinstance(part, faiss.IndexRefine):
                self._has("k_factor_rf", num_items, part.k_factor)
            if isinstance(part, faiss.IndexHNSW):
                self._has("efSearch", num_items, part.hnsw.efSearch)
                part = faiss.downcast_index(part.storage)
            if isinstance(part, faiss.IndexIVF):
                self.lists = int(part.nlist)
                self._has("nprobe", self.lists, part.nprobe)
                self.least_points = max(self.least_points, self.lists)
                self._training.append(part.cp)
                quantizer = faiss.downcast_index(part.quantizer)
                if isinstance(quantizer, faiss.IndexHNSW):
                    self._has("quantizer_efSearch", self.lists, quantizer.hnsw.efSearch)
            if hasattr(part, "pq"):
                self.least_points = max(self.least_points, int(part.pq.ksub))
                self._training.append(part.pq.cp)

    def _has(self, name: str, highest: int, value: float) -> None:
        self.limits[name], self.settings[name] = (1, highest), float(value)

    def train_quietly(self) -> None:
        """Have faiss not complain of few points a list: what that costs is measured, and told."""
        for parameters in self._training:
            parameters.min_points_per_centroid = 1

    def ladder(self) -> Iterator[dict[str, float]]:
        """Settings of every parameter of the index, from quick to thorough."""
        last: dict[str, float] = {}
        for step in range(32):
            wanted = {
                "nprobe": 2**step,
                "quantizer_efSearch": 16 * 2**step,
                "efSearch": min(4096, 16 * 2**step),
                "k_factor_rf": min(256, 4 * 2 ** (step // 2)),
            }
            settings = {
                name: float(min(wanted[name], high)) for name, (_, high) in self.limits.items()
            }
            if settings == last:
                return
            yield settings
            last = settings


def _parts(faiss: Any, index: Any) -> Iterator[Any]:
    """An index and those that it wraps, outermost first."""
    while index is not None:
        index = faiss.downcast_index(index)
        yield index
        if isinstance(index, faiss.IndexRefine):
            index = index.base_index
        elif isinstance(index, faiss.IndexPreTransform | faiss.IndexIDMap):
            index = index.index
        else:
            return


def bytes_of_item(index: Any) -> int:
    """Bytes that an index holds of each item: its code or vector, links of a graph, its number."""
    faiss = require_faiss()
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexRefine):
        return bytes_of_item(index.base_index) + bytes_of_item(index.refine_index)
    if isinstance(index, faiss.IndexPreTransform | faiss.IndexIDMap):
        return bytes_of_item(index.index)
    if isinstance(index, faiss.IndexHNSW):
        return bytes_of_item(index.storage) + 4 * int(index.hnsw.nb_neighbors(0)) + 8
    if isinstance(index, faiss.IndexNSG):
        return bytes_of_item(index.storage) + 4 * int(index.nsg.R)
    of_number = 8 if isinstance(index, faiss.IndexIVF) else 0
    return int(index.code_size) + of_number if hasattr(index, "code_size") else of_number


def empty_index(name: DecoderName, num_items: int, dim: int) -> Any:
    """An untrained index by a factory string, for unit vectors by inner product.

    Args:
        name: of kind ``"faiss"``; its parameters are checked and set.
        num_items: N items that it is to hold.
        dim: d of them.

    Raises:
        ValueError: faiss is missing or refuses the string (its reason, and the nearest that it
            takes); it would take more memory than there is; more lists, or more codes, than items;
            a parameter that the index has not, or out of its range.
    """
    faiss = require_faiss()
    _check_numbers(name, num_items, dim)
    try:
        index = faiss.index_factory(dim, name.what, faiss.METRIC_INNER_PRODUCT)
    except Exception as error:  # RuntimeError, and others of the wrapper
        raise ValueError(
            f"faiss refuses decoder {shown(str(name))} for {dim} dimensions: "
            f"{reason(error)}.{_nearest(name.what, num_items, dim)}"
        ) from error
    structure = Structure(index, num_items)
    training = 4 * dim * min(num_items, max(_POINTS_A_LIST * structure.lists, _POINTS_AT_LEAST))
    check_memory(
        f"The index of decoder {shown(str(name))}, {num_items:,} items × {dim:,} dimensions,",
        num_items * bytes_of_item(index) + 4 * dim * structure.lists + training,
        "name one of smaller codes, such as 'faiss:IVF4096,PQ32', or decode exactly",
    )
    if structure.lists > num_items:
        raise ValueError(
            f"decoder {shown(str(name))} has {structure.lists:,} lists for {num_items:,} items; "
            f"at most as many as items are of use, for example "
            f"'faiss:IVF{lists_for(num_items)},Flat'."
        )
    if structure.least_points > num_items:
        raise ValueError(
            f"decoder {shown(str(name))} needs {structure.least_points:,} items to learn its codes "
            f"from, and there are {num_items:,}; for so few, exact is quick."
        )
    if name.recall is not None and not structure.limits:
        raise ValueError(
            f"decoder {shown(str(name))}: {name.what} has no parameter that trades time for "
            "recall; leave out recall."
        )
    check_parameters(name, index, num_items)
    structure.train_quietly()
    return index


def _check_numbers(name: DecoderName, num_items: int, dim: int) -> None:
    """Refuse what faiss takes and crashes, or hangs, with: zeros, and graphs of one neighbour."""
    for kind, digits in re.findall(r"([A-Za-z]+)(\d+)", name.what):
        number = int(digits)
        least = 2 if kind.endswith(("HNSW", "NSG")) else 1
        if number < least or number > 2**31 - 1:
            raise ValueError(
                f"decoder {shown(str(name))}: {kind}{digits[:20]} has no number from {least} to "
                f"{2**31 - 1}.{_nearest(name.what, num_items, dim)}"
            )


def check_parameters(name: DecoderName, index: Any, num_items: int) -> None:
    """Set the parameters of searching on an index.

    Raises:
        ValueError: the index has no such parameter (the nearest is named), or it is out of range.
    """
    limits = Structure(index, num_items).limits
    for key, value in name.parameters.items():
        if key not in limits:
            raise unknown_name(
                f"parameter of decoder {shown(name.what)}:", key, (*limits, "recall")
            )
        low, high = limits[key]
        whole = int(value) if value == int(value) else value
        check_integer(f"{key} of decoder {shown(str(name))}:", whole, low, high)
    set_parameters(index, name.parameters)


def set_parameters(index: Any, parameters: Mapping[str, float]) -> None:
    """Set parameters of searching that the index is known to have."""
    space = require_faiss().ParameterSpace()
    for key, value in parameters.items():
        space.set_index_parameter(index, key, float(value))


def lists_for(num_items: int) -> int:
    """Lists of an inverted file: the power of two next to 4 √N, at least 1 and at most N.

    Source: *Guidelines to choose an index* in faiss's wiki, 4 √N to 16 √N.
    """
    wanted = 2 ** round(np.log2(4.0 * np.sqrt(num_items)))
    return int(max(1, min(wanted, num_items)))


def auto_factory(num_items: int, dim: int) -> str:
    """The factory string that ``auto`` stands for: an inverted file of small codes, ranked anew.

    Four bits a dimension are an eighth of the vectors to read, and faiss looks them up in
    registers, 32 items at a time; the vectors of the few that are nearest by their codes order
    them. Of few dimensions the vectors themselves are in the lists.

    Source: Andre, Kermarrec and Le Scouarnec, *Cache locality is not enough: high-performance
    nearest neighbor search with product quantization fast scan*, VLDB 2015; faiss's ``x4fs``.
    """
    codes = f"PQ{dim}x4fs,RFlat" if dim >= _CODED_FROM else "Flat"
    return f"IVF{lists_for(num_items)},{codes}"


def auto_probes(lists: int, dim: int) -> int:
    """The most lists that ``auto`` looks into: an eighth of them, or half where they hold codes."""
    return lists // (2 if dim >= _CODED_FROM else 8)


def fill(index: Any, vectors: Vectors) -> None:
    """Train an index on a sample of rows and add all of them, in bounded memory.

    On a terminal the rows that are done are shown.

    Args:
        index: of :func:`empty_index`.
        vectors: float32 (N, d). As many rows as 64 a list, at least 65,536, are trained on.

    Raises:
        ValueError: faiss cannot be trained on them; its reason.
    """
    structure = Structure(index, len(vectors))
    size = min(len(vectors), max(_POINTS_A_LIST * structure.lists, _POINTS_AT_LEAST))
    rows = np.arange(len(vectors))
    if size < len(vectors):
        rows = np.sort(np.random.default_rng(_SEED).permutation(len(vectors))[:size])
    bar = tqdm(total=size + len(vectors), desc="index", unit="row", disable=None)
    try:
        with bar:
            index.train(np.ascontiguousarray(vectors[rows], dtype=np.float32))
            bar.update(size)
            _reserve(index, len(vectors))
            for start in range(0, len(vectors), _ROWS):
                block = np.ascontiguousarray(vectors[start : start + _ROWS], dtype=np.float32)
                index.add(block)
                bar.update(len(block))
    except RuntimeError as error:
        raise ValueError(f"faiss cannot index these vectors: {reason(error)}.") from error


def _reserve(index: Any, num_items: int) -> None:
    """Have an index hold room for all items: one that grows holds all it has twice at times."""
    faiss = require_faiss()
    for part in list(_parts(faiss, index)):
        for held in (part, getattr(part, "refine_index", None), getattr(part, "storage", None)):
            held = None if held is None else faiss.downcast_index(held)
            if isinstance(held, faiss.IndexFlatCodes):
                held.codes.resize(num_items * int(held.code_size))
                held.codes.resize(0)  # which keeps the room


def _nearest(factory: str, num_items: int, dim: int) -> str:
    """The end of a message, with the nearest string that faiss takes for these items."""
    faiss = require_faiss()
    numbers = re.findall(r"\d+", factory)
    known = difflib.get_close_matches(re.sub(r"\d+", "#", factory), _KNOWN, n=3, cutoff=0.0)
    for template in known:
        suggestion = _filled_in(template, numbers, num_items, dim)
        try:
            faiss.index_factory(dim, suggestion, faiss.METRIC_INNER_PRODUCT)
        except Exception:
            continue
        return f" Did you mean 'faiss:{suggestion}'?"
    return f" 'faiss:IVF{lists_for(num_items)},Flat' is one that it takes."


def _filled_in(template: str, numbers: list[str], num_items: int, dim: int) -> str:
    """A template with numbers that it can have: those given, in order, where they fit."""
    given = iter(numbers)
    parts = re.split(r"([A-Za-z]+#)", template)
    for place, part in enumerate(parts):
        if not part.endswith("#"):
            continue
        kind, number = part[:-1], min(int(next(given, "0")), 2**31 - 1)
        if kind in ("PQ", "OPQ"):
            divisors = [m for m in range(1, dim + 1) if dim % m == 0]
            number = min(divisors, key=lambda m: abs(m - (number or dim // 4)))
        elif kind == "IVF":
            number = number if 0 < number <= num_items else lists_for(num_items)
        elif kind == "SQ":
            number = number if number in (4, 6, 8) else 8
        elif kind == "x":
            number = 4
        elif kind == "PCA":
            number = min(number or dim // 2, dim)
        else:
            number = max(number or 32, 2)
        parts[place] = f"{kind}{number}"
    return "".join(parts)
