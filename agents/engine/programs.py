"""Functions of tensors that torch compiles once for their shapes, and that are found again on disk.

``torch.compile`` asks at every call whether each tensor is still what it compiled for; of a fleet's
hundred that takes as long as a learner's whole update. Here nothing is asked: whoever calls a
:class:`Program` brings tensors like the example.

What was compiled of a function is looked up by its trace, whatever code that came from. Tracing
takes a second and more, most of it for imports; a function whose caller can describe it is looked
up by the description first, and then neither traced nor is the compiler imported.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from recsim_drpo.agents.engine import direct
from recsim_drpo.core.compiler_cache import cache_folder
from recsim_drpo.core.files import replaced_file, write_atomically

_SINCE = "2.13"
_CPU_INFORMATION = Path("/proc/cpuinfo")


def available() -> bool:
    """Whether torch is of a version that this is known to work with."""
    return bool(torch.__version__ >= _SINCE)


class Program:
    """A function of tensors, compiled for tensors like those of an example.

    Args:
        function: of tensors, returns tensors by name; may be looked into by ``torch.fx``.
        example: tensors of the shapes, strides, types and device that every call will bring; not
            checked at calls.
        description: a text that no two functions share which compute different things; ``None``:
            there is none, and the function is traced.

    Attributes:
        reads: for each tensor, whether the function depends on it; others may be anything.
    """

    def __init__(
        self,
        function: Callable[..., Mapping[str, Tensor]],
        example: Sequence[Tensor],
        description: str | None = None,
    ) -> None:
        known = None if description is None else _path_of(description, example, "json")
        kept = None if known is None else _kept(known)
        if kept is not None:
            self._names, self.reads, self._run = kept
            return
        graph, self.reads, self._names = _traced(function, example)
        given = list(itertools.compress(example, self.reads))
        self._run = _compiled(graph, given)
        path = _path_of(_written(graph), given)
        if known is not None and path.exists():
            facts = {"program": path.name, "names": self._names, "reads": self.reads}
            with suppress(OSError, RuntimeError):  # then the next process traces again
                write_atomically(known, json.dumps(facts))

    def __call__(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        """What the function returns."""
        results = self._run(*itertools.compress(tensors, self.reads))
        return dict(zip(self._names, results, strict=True))


def _kept(known: Path) -> tuple[list[str], list[bool], Callable[..., Sequence[Tensor]]] | None:
    """A described function's names and reads, and what runs it; ``None``: it is to be compiled."""
    try:
        facts = json.loads(known.read_text(encoding="utf-8"))
        return facts["names"], facts["reads"], direct.load(known.with_name(facts["program"]))
    except Exception:  # there is none, or it is damaged
        return None


def _traced(
    function: Callable[..., Mapping[str, Tensor]], example: Sequence[Tensor]
) -> tuple[torch.fx.GraphModule, list[bool], list[str]]:
    """The function as a graph of what it reads; which tensors these are; names of its results."""
    from torch.fx.experimental.proxy_tensor import make_fx

    names: list[str] = []

    def listed(*tensors: Tensor) -> list[Tensor]:
        results = function(*tensors)
        names[:] = results
        return list(results.values())

    traced = make_fx(listed, tracing_mode="fake", _allow_non_fake_inputs=True)(*example)
    _fill_where_all_is_masked(traced.graph)
    traced.graph.eliminate_dead_code()
    inputs = [node for node in traced.graph.nodes if node.op == "placeholder"]
    reads = [bool(node.users) for node in inputs]
    for node in inputs:
        if not node.users:
            traced.graph.erase_node(node)
    traced.recompile()
    return traced, reads, names


def _fill_where_all_is_masked(graph: torch.fx.Graph) -> None:
    """Let what a mask of ones covers be filled without being computed: the compiler computes it."""
    ops = torch.ops.aten
    for node in graph.find_nodes(op="call_function", target=ops.masked_fill.Scalar):
        _, mask, value = node.args
        if mask.target is ops.ones_like.default:
            form = {name: getattr(node.meta["val"], name) for name in ("dtype", "device")}
            with graph.inserting_before(node):
                full = graph.call_function(ops.full.default, (node.meta["val"].shape, value), form)
            full.meta = node.meta
            node.replace_all_uses_with(full)


def _compiled(
    graph: torch.fx.GraphModule, example: Sequence[Tensor]
) -> Callable[..., Sequence[Tensor]]:
    """The graph as machine code: of an earlier process if there is any, else compiled and kept."""
    path = _path_of(_written(graph), example)
    with suppress(Exception):  # there is none, or it is damaged
        return direct.load(path)
    from torch._inductor import standalone_compile
    from torch._inductor.codecache import PyCodeCache

    before = len(PyCodeCache.modules)
    artifact: Callable[..., Sequence[Tensor]] = standalone_compile(
        graph, list(example), dynamic_shapes="from_example_inputs"
    )
    with suppress(Exception):  # it cannot be kept: the next process asks the compiler again
        (module,) = PyCodeCache.modules[before:]
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(path) as partial:
            partial.write_text(direct.text_of(module), encoding="utf-8")
            _check_same(artifact, direct.load(partial), example)
    return artifact


def _check_same(
    one: Callable[..., Sequence[Tensor]],
    other: Callable[..., Sequence[Tensor]],
    example: Sequence[Tensor],
) -> None:
    """Raise ``AssertionError`` unless two functions return, and leave behind, the same numbers."""
    given = [[tensor.clone() for tensor in example] for _ in range(2)]
    made = [[*run(*tensors), *tensors] for run, tensors in zip((one, other), given, strict=True)]
    torch.testing.assert_close(*made, rtol=0.0, atol=0.0, equal_nan=True)


def _written(graph: torch.fx.GraphModule) -> str:
    """The graph as a text, with the values that it holds."""
    held = [getattr(graph, node.target) for node in graph.graph.nodes if node.op == "get_attr"]
    values = [value.tolist() if isinstance(value, Tensor) else value for value in held]
    return f"{graph.code}\n{values!r}"


def _path_of(description: str, example: Sequence[Tensor], kind: str = "py") -> Path:
    """Where what is known of a function that has this description is kept."""
    return cache_folder() / "recsim_drpo" / f"{_digest(description, example)}.{kind}"


def _digest(description: str, example: Sequence[Tensor]) -> str:
    """A name for a function of such tensors, and for what its machine code depends on besides."""
    forms = [(t.shape, t.stride(), t.dtype, t.device) for t in example]
    settings = torch.__version__, torch.get_num_threads(), _processor(), *_arithmetic()
    return hashlib.sha256(repr((description, forms, settings)).encode()).hexdigest()


def _arithmetic() -> tuple[object, ...]:
    """Torch's settings that decide which operations a trace is made of."""
    return (
        torch.get_default_dtype(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        torch.are_deterministic_algorithms_enabled(),
    )


def _processor() -> str:
    """The processor and what it can do, as far as the platform tells."""
    if not _CPU_INFORMATION.exists():
        return f"{platform.machine()} {platform.processor()}"
    lines = _CPU_INFORMATION.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(sorted({line for line in lines if line.startswith(("model", "flags"))}))
