"""Functions of tensors that torch compiles once for their shapes, and that it finds again on disk.

``torch.compile`` asks at every call whether each tensor is still what it compiled for; of a fleet's
hundred that takes as long as a learner's whole update. Here nothing is asked: whoever calls a
:class:`Program` brings tensors like the example. A function is traced in every process, which takes
a second; what was compiled of it is looked up by the trace, whatever code that came from.
"""

from __future__ import annotations

import hashlib
import itertools
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recsim_drpo.core.compiler_cache import cache_folder

_SINCE = "2.13"
_CPU_INFORMATION = Path("/proc/cpuinfo")


def available() -> bool:
    """Whether torch is of a version that this is known to work with."""
    return bool(torch.__version__ >= _SINCE)


class Program:
    """A function of tensors, compiled for tensors like those of an example.

    Args:
        function: of tensors, returns tensors; may be looked into by ``torch.fx``.
        example: tensors of the shapes, strides, types and device that every call will bring; not
            checked at calls.

    Attributes:
        reads: for each tensor, whether the function depends on it; others may be anything.
    """

    def __init__(
        self, function: Callable[..., Sequence[Tensor]], example: Sequence[Tensor]
    ) -> None:
        graph, self.reads = _traced(function, example)
        self._run = _compiled(graph, list(itertools.compress(example, self.reads)))

    def __call__(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """What the function returns."""
        results: Sequence[Tensor] = self._run(*itertools.compress(tensors, self.reads))
        return results


def _traced(
    function: Callable[..., Sequence[Tensor]], example: Sequence[Tensor]
) -> tuple[torch.fx.GraphModule, list[bool]]:
    """The function as a graph of those tensors that it reads, and which these are."""
    from torch.fx.experimental.proxy_tensor import make_fx

    traced = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*example)
    traced.graph.eliminate_dead_code()
    inputs = [node for node in traced.graph.nodes if node.op == "placeholder"]
    reads = [bool(node.users) for node in inputs]
    for node in inputs:
        if not node.users:
            traced.graph.erase_node(node)
    traced.recompile()
    return traced, reads


def _compiled(graph: torch.fx.GraphModule, example: list[Any]) -> Callable[..., Any]:
    """The graph as machine code: of an earlier process if there is any, else compiled and kept."""
    from torch._inductor import standalone_compile
    from torch._inductor.standalone_compile import CompiledArtifact

    path = cache_folder() / "recsim_drpo" / _key(graph, example)
    try:
        return CompiledArtifact.load(path=str(path))
    except Exception:  # there is none, or another version of torch left it
        artifact = standalone_compile(graph, example, dynamic_shapes="from_example_inputs")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        artifact.save(path=str(path))
    except Exception:  # it cannot be kept: the next process compiles again
        return artifact
    return artifact


def _key(graph: torch.fx.GraphModule, example: Sequence[Tensor]) -> str:
    """A name for all that the machine code depends on."""
    digest = hashlib.sha256(graph.code.encode())
    forms = [(t.shape, t.stride(), t.dtype, t.device) for t in example]
    settings = torch.__version__, torch.get_num_threads(), _processor()
    digest.update(repr((forms, settings)).encode())
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            held = getattr(graph, node.target)
            digest.update(repr(held.tolist() if isinstance(held, Tensor) else held).encode())
    return digest.hexdigest()


def _processor() -> str:
    """The processor and what it can do, as far as the platform tells."""
    if not _CPU_INFORMATION.exists():
        return f"{platform.machine()} {platform.processor()}"
    lines = _CPU_INFORMATION.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(sorted({line for line in lines if line.startswith(("model", "flags"))}))
