"""The transform of a context's numbers as nodes of an ONNX graph, in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.datasets.importing.coding import ContextCoder
from recsim_drpo.datasets.importing.transforms import NumberCoding

CONTEXT = "context"
"""The value that the last node gives: what the policy takes, float32 (batch, o)."""


class _Nodes:
    """Nodes and constants that are being put together; a node has one output, its own name.

    Args:
        onnx: the package.
    """

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any) -> str:
        """The name of a new constant."""
        name = f"context_constant_{len(self.constants)}"
        array = np.asarray(value, dtype=dtype)
        self.constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """The name of the output of a new node."""
        name = name or f"context_{kind}_{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name


def context_nodes(onnx: Any, coder: ContextCoder, source: str) -> tuple[list[Any], list[Any]]:
    """Nodes and constants that make :data:`CONTEXT` of :meth:`.ContextCoder.transformed`'s input.

    Args:
        onnx: the package.
        coder: of the log; has a number.
        source: name of the graph's input, float64.
    """
    graph, codings = _Nodes(onnx), list(coder.numbers.values())
    width = len(codings)

    def part(first: int, end: int) -> str:
        bounds = [graph.constant([bound], np.int64) for bound in (first, end, 1)]
        return graph.node("Slice", source, *bounds)

    double, single = onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT
    numbers = part(0, width)
    empty = graph.node("IsNaN", numbers)
    values = numbers
    if any(coding.single for coding in codings):
        rounded = graph.node("Cast", graph.node("Cast", values, to=single), to=double)
        chosen = graph.constant([coding.single for coding in codings], np.bool_)
        values = graph.node("Where", chosen, rounded, values)
    values = _transformed(graph, codings, values)
    fill = graph.constant([coding.fill for coding in codings], np.float64)
    values = graph.node("Where", empty, fill, values)
    parts = [graph.node("Cast", values, to=single)]
    end = sum(column["size"] for column in coder.layout)
    if end > width:
        parts.append(graph.node("Cast", part(width, end), to=single))
    missing = [column for column, coding in enumerate(codings) if coding.missing]
    if missing:
        chosen = graph.constant(missing, np.int64)
        flags = graph.node("Cast", empty, to=single)
        parts.append(graph.node("Gather", flags, chosen, axis=1))
    graph.node("Concat", *parts, name=CONTEXT, axis=1)
    return graph.nodes, graph.constants


def _transformed(graph: _Nodes, codings: list[NumberCoding], values: str) -> str:
    """The numbers by their transforms, before missing ones are filled."""
    kinds = [coding.transform for coding in codings]
    transformed = values
    if "log" in kinds:
        one = graph.constant(1.0, np.float64)
        size = graph.node("Log", graph.node("Add", graph.node("Abs", values), one))
        logs = graph.node("Mul", graph.node("Sign", values), size)
        chosen = graph.constant([kind == "log" for kind in kinds], np.bool_)
        transformed = graph.node("Where", chosen, logs, values)
    center = graph.constant([coding.center for coding in codings], np.float64)
    scale = graph.constant([coding.scale for coding in codings], np.float64)
    transformed = graph.node("Div", graph.node("Sub", transformed, center), scale)
    ranked = [column for column, kind in enumerate(kinds) if kind == "quantile"]
    if not ranked:
        return transformed
    ranks = _ranks(graph, [codings[column] for column in ranked], values, ranked)
    order = np.arange(len(codings))
    order[ranked] = len(codings) + np.arange(len(ranked))
    both = graph.node("Concat", transformed, ranks, axis=1)
    return graph.node("Gather", both, graph.constant(order, np.int64), axis=1)


def _ranks(graph: _Nodes, codings: list[NumberCoding], values: str, columns: list[int]) -> str:
    """The quantile transform of some columns: the pieces of a line, each from 0 to its rise."""
    pieces = max(1, *(len(coding.knots) - 1 for coding in codings)) if codings else 1
    first, width, rise = (np.zeros((len(codings), pieces)) for _ in range(3))
    width[:] = 1.0  # of the pieces that a column lacks, which do not rise
    for row, coding in enumerate(codings):
        knots: NDArray[np.float64] = np.asarray(coding.knots, dtype=np.float64)
        count = len(knots) - 1
        first[row, :count], width[row, :count] = knots[:-1], np.diff(knots)
        rise[row, :count] = np.diff(coding.levels)
    chosen = graph.node("Gather", values, graph.constant(columns, np.int64), axis=1)
    chosen = graph.node("Unsqueeze", chosen, graph.constant([2], np.int64))
    apart = graph.node("Sub", chosen, graph.constant(first, np.float64))
    share = graph.node("Div", apart, graph.constant(width, np.float64))
    bounds = [graph.constant(bound, np.float64) for bound in (0.0, 1.0)]
    risen = graph.node("Mul", graph.node("Clip", share, *bounds), graph.constant(rise, np.float64))
    total = graph.node("ReduceSum", risen, graph.constant([2], np.int64), keepdims=0)
    lowest = graph.constant([coding.levels[0] for coding in codings], np.float64)
    return graph.node("Add", total, lowest)
