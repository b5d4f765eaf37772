"""A training step as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from recsim_drpo.agents.engine.step import LearnerState, Metrics

_WARM_UP = 3


class CudaGraphStep:
    """A training step as one CUDA graph: a call costs one launch, whatever the step is made of.

    The learner state is updated in place; metrics are overwritten by the next call.

    Args:
        step: ``(state, input) -> (state, metrics)``, free of host synchronisation.
        learner: the state, whose tensors the graph owns from here on.
        example: an input; later ones have its shape and type.
    """

    def __init__(
        self,
        step: Callable[[LearnerState, Tensor], tuple[LearnerState, Metrics]],
        learner: LearnerState,
        example: Tensor,
    ) -> None:
        self._input = example.clone()

        def train_step() -> Metrics:
            next_learner, metrics = step(learner, self._input)
            overwrite(learner, next_learner)
            return metrics

        # Streams and graphs are of the current device, which need not be the learners'.
        with torch.cuda.device(example.device):
            before = pytree.tree_map(torch.clone, learner)
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    train_step()
            torch.cuda.current_stream().wait_stream(side)
            overwrite(learner, before)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._metrics = train_step()

    def __call__(self, indices: Tensor) -> Metrics:
        """One update of the learners; metrics are those of this call until the next one.

        Raises:
            ValueError: the input is of another shape than the example.
        """
        if indices.shape != self._input.shape:
            raise ValueError(
                f"Indices of shape {tuple(indices.shape)}; captured for {tuple(self._input.shape)}."
            )
        with torch.cuda.device(self._input.device):
            self._input.copy_(indices)
            self._graph.replay()
        return self._metrics


def overwrite(target: Any, source: Any) -> None:
    """Copy the tensors of the state ``source`` into those of ``target`` that are not the same."""
    new_tensors = pytree.tree_leaves(source)
    for old, new in zip(pytree.tree_leaves(target), new_tensors, strict=True):
        if old is not new:
            old.copy_(new)
