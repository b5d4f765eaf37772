"""The training step, written once for one learner and for many of one structure.

Learners never meet: a batched step maps the loss over a leading axis, and the gradient of the sum
of the losses is each learner's own. A learner whose loss, parameters or Adam's moments would not be
finite keeps the state it had before, for good, with the number of the update at which that
happened; its neighbours do not notice.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recsim_drpo import rng
from recsim_drpo.agents.algorithm import Algorithm, Noise, PolicyConfig, State
from recsim_drpo.agents.networks import Parameters, constrain_policy
from recsim_drpo.agents.protocol import Batch

Metrics = dict[str, Tensor]
Varied = Mapping[str, Tensor]
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class LearnerState(NamedTuple):
    """Everything that training changes, of one learner or with a leading learner axis.

    Attributes:
        parameters: (P,) of all networks, in the order of a :class:`Layout`.
        exp_avg: (P,), Adam's first moment.
        exp_avg_sq: (P,), Adam's second moment.
        state: what the algorithm carries besides.
        seed: int64 scalar.
        step: int64 scalar, updates seen.
        diverged_at: int64 scalar, the update at which it diverged and was frozen; -1: it has not.
        draws: int64 scalar, calls of ``sample`` so far.
    """

    parameters: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    state: State
    seed: Tensor
    step: Tensor
    diverged_at: Tensor
    draws: Tensor


class Pace(NamedTuple):
    """Adam's learning rate and the scale of its second moment, corrected for their bias."""

    length: Tensor
    scale: Tensor


class Layout:
    """Where each named parameter lies in the one tensor that holds them all.

    Matrices lie there transposed: (in, out) is how the gradients of weights (out, in) come out of
    a batched product, and what a batched product reads with the least copying.

    Args:
        shapes: by name, in order, of matrices and vectors.
    """

    def __init__(self, shapes: Mapping[str, torch.Size]) -> None:
        self.shapes = dict(shapes)
        self._sizes = [shape.numel() for shape in shapes.values()]

    def split(self, flat: Tensor) -> Parameters:
        """Views (..., *shape) by name of a tensor (..., P)."""
        parts = torch.split(flat, self._sizes, dim=-1)
        return {
            name: part.reshape(*part.shape[:-1], *shape[::-1]).mT if len(shape) == 2 else part
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def join(self, parts: Mapping[str, Tensor]) -> Tensor:
        """One tensor (..., P) of tensors (..., *shape) by name."""
        flat = [
            parts[name].mT.flatten(-2) if len(shape) == 2 else parts[name]
            for name, shape in self.shapes.items()
        ]
        return torch.cat(flat, dim=-1)


def draw_noise(shapes: Mapping[str, tuple[int, ...]], seed: Tensor, step: Tensor) -> Noise:
    """Standard normal float32 numbers of the named shapes: a function of seed and step alone.

    Args:
        shapes: by name, of one learner.
        seed: int64 (L,), or a scalar, on the device where the numbers are wanted.
        step: likewise.

    Returns:
        by name (L, *shape), or (*shape) for scalars.
    """
    noise = {}
    for number, (name, shape) in enumerate(shapes.items()):
        size = torch.Size(shape).numel()
        stream = rng.Stream.AGENT_NOISE + number
        words = rng.philox_4x32(seed.reshape(-1), stream, step.reshape(-1), size + size % 2)
        drawn = rng.many_normals(words)[..., :size].to(torch.float32)
        noise[name] = drawn.reshape(*seed.shape, *shape)
    return noise


def make_step(
    algorithm: Algorithm,
    layout: Layout,
    config: PolicyConfig,
    *,
    batched: bool,
    functional: bool,
) -> Callable[[LearnerState, Varied, Batch, Noise, Pace], tuple[LearnerState, Metrics]]:
    """The function from a state, a batch, noise and Adam's pace to the next state and metrics.

    Args:
        algorithm: whose loss is descended.
        layout: of the parameters.
        config: hyper-parameters.
        batched: whether states, varied hyper-parameters and batches have a leading learner axis.
        functional: take gradients by ``torch.func``, which the compiler can look into, instead of
            by autograd, which is quicker without it.

    Returns:
        a function of the state, of the hyper-parameters that take other values than in ``config``
        (float64 (L,) by name; empty for one learner), of the batch, of its noise, and of the pace
        (:func:`adam_pace`).
    """

    def loss_of_one(
        parameters: Parameters, state: State, batch: Batch, noise: Noise, varied: State
    ) -> tuple[Tensor, State, Metrics]:
        return algorithm.loss(parameters, state, batch, noise, with_values(config, varied))

    def settle_one(parameters: Parameters, state: State, varied: State) -> State:
        return algorithm.settle(parameters, state, with_values(config, varied))

    losses = torch.func.vmap(loss_of_one) if batched else loss_of_one
    settle = torch.func.vmap(settle_one) if batched else settle_one

    def total(parameters: Parameters, *rest: Any) -> tuple[Tensor, tuple[Tensor, State, Metrics]]:
        loss, state, metrics = losses(parameters, *rest)
        return loss.sum(), (loss, state, metrics)

    def differentiate(
        parameters: Parameters, *rest: Any
    ) -> tuple[Parameters, tuple[Tensor, State, Metrics]]:
        if functional:
            gradients, (_, output) = torch.func.grad_and_value(total, has_aux=True)(
                parameters, *rest
            )
            return gradients, output
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}
        value, output = total(leaves, *rest)
        found = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
        return dict(zip(leaves, found, strict=True)), output

    def step(
        learner: LearnerState, varied: Varied, batch: Batch, noise: Noise, pace: Pace
    ) -> tuple[LearnerState, Metrics]:
        dtype = learner.parameters.dtype
        batch = _as_dtype(batch, dtype)
        noise = {name: drawn.to(dtype) for name, drawn in noise.items()}
        gradients, (loss, state, metrics) = differentiate(
            layout.split(learner.parameters), learner.state, batch, noise, dict(varied)
        )
        with torch.no_grad():
            gradient = layout.join(gradients).to(dtype)
            count = learner.step + 1
            moments = _adam(learner, gradient, pace)
            # A gradient that is not finite shows in the second moment, and so does a finite one
            # whose square overflows, which would make NaN of the parameters one update later.
            healthy = torch.isfinite(loss)
            for whole in (moments[0], moments[2]):
                healthy = healthy & torch.isfinite(whole).all(dim=-1)
            alive = (learner.diverged_at < 0) & healthy
            constrain_policy(layout.split(moments[0]))
            settled = settle(layout.split(moments[0]), _detached(state), dict(varied))

            def kept(new: Tensor, old: Tensor) -> Tensor:
                mask = alive.reshape(alive.shape + (1,) * (old.ndim - alive.ndim))
                return torch.where(mask, new.to(old.dtype), old)

            following = LearnerState(
                kept(moments[0], learner.parameters),
                kept(moments[1], learner.exp_avg),
                kept(moments[2], learner.exp_avg_sq),
                {name: kept(settled[name], old) for name, old in learner.state.items()},
                learner.seed,
                count,
                torch.where(alive | (learner.diverged_at >= 0), learner.diverged_at, count),
                learner.draws,
            )
        return following, _detached({"loss": loss, **metrics})

    return step


def adam_pace(learner: LearnerState, rate: Tensor | float) -> Pace:
    """What Adam's next step multiplies its moments by, each (..., 1).

    Apart from the step, since a compiler that fuses it into the pass over all parameters takes the
    powers anew for each of them.
    """
    exponent = (learner.step + 1).to(torch.float64).unsqueeze(-1)
    if isinstance(rate, Tensor):
        rate = rate.unsqueeze(-1)
    length = -rate / (1.0 - _BETAS[0] ** exponent)
    scale = (1.0 - _BETAS[1] ** exponent).rsqrt()
    dtype = learner.parameters.dtype
    return Pace(length.to(dtype), scale.to(dtype))


def _adam(learner: LearnerState, gradient: Tensor, pace: Pace) -> tuple[Tensor, Tensor, Tensor]:
    """Parameters and moments after a step of Adam (Kingma and Ba, 2015)."""
    first = torch.lerp(learner.exp_avg, gradient, 1.0 - _BETAS[0])
    second = torch.lerp(learner.exp_avg_sq, gradient.square(), 1.0 - _BETAS[1])
    spread = second.sqrt() * pace.scale + _EPSILON
    return torch.addcdiv(learner.parameters, first * pace.length, spread), first, second


def with_values(config: PolicyConfig, values: Mapping[str, Any]) -> PolicyConfig:
    """The configuration with some fields replaced by tensors, which its checks could not read."""
    if not values:
        return config
    replaced = copy.copy(config)
    for name, value in values.items():
        object.__setattr__(replaced, name, value)
    return replaced


def _as_dtype(batch: Batch, dtype: torch.dtype) -> Batch:
    return Batch(
        batch.observations.to(dtype),
        batch.actions.to(dtype),
        batch.rewards.to(dtype),
        batch.next_observations.to(dtype),
        batch.terminations,
        batch.infos,
    )


def _detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in tensors.items()}
