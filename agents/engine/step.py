"""The training step, written once for one learner and for many of one structure.

Learners never meet: a batched step maps the loss over a leading axis, and the gradient of the sum
of the losses is each learner's own. A learner whose loss or sum of squared gradients is not finite
keeps the state it had before, for good, with the number of the update at which that happened; its
neighbours do not notice.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recsim_drpo.agents.engine.algorithm import Algorithm, Noise, PolicyConfig, State
from recsim_drpo.agents.engine.networks import Parameters, constrain_policy
from recsim_drpo.core import rng
from recsim_drpo.core.transitions import Batch

Metrics = dict[str, Tensor]
Varied = Mapping[str, Tensor]
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class LearnerState(NamedTuple):
    """Everything that training changes, of one learner or with a leading learner axis.

    Attributes:
        parameters: of all networks by name, weights transposed (:func:`transpose_weights`).
        exp_avg: Adam's first moments, by the same names.
        exp_avg_sq: Adam's second moments, by the same names.
        state: what the algorithm carries besides; weights copied into it are transposed too.
        seed: int64 scalar.
        step: int64 scalar, updates seen.
        diverged_at: int64 scalar, the update at which it diverged and was frozen; -1: it has not.
        draws: int64 scalar, calls of ``sample`` so far.
    """

    parameters: Parameters
    exp_avg: Parameters
    exp_avg_sq: Parameters
    state: State
    seed: Tensor
    step: Tensor
    diverged_at: Tensor
    draws: Tensor


class Pace(NamedTuple):
    """Adam's learning rate and the scale of its second moment, corrected for their bias."""

    length: Tensor
    scale: Tensor


def transpose_weights(parameters: Parameters) -> Parameters:
    """The same tensors with weights (…, out, in) seen as (…, in, out), as the step keeps them.

    Applied again it turns them back. (in, out) is how the gradients of weights come out of a
    batched product, and what a batched product reads without copying.
    """
    return {
        name: tensor.mT if ".weight_" in name else tensor for name, tensor in parameters.items()
    }


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
    config: PolicyConfig,
    *,
    batched: bool,
    functional: bool,
) -> Callable[[LearnerState, Varied, Batch, Pace], tuple[LearnerState, Metrics]]:
    """The function from a state, a batch and Adam's pace to the next state and metrics.

    Args:
        algorithm: whose loss is descended.
        config: hyper-parameters.
        batched: whether states, varied hyper-parameters and batches have a leading learner axis.
        functional: take gradients by ``torch.func``, which the compiler can look into, instead of
            by autograd, which is quicker without it.

    Returns:
        a function of the state, of the hyper-parameters that take other values than in ``config``
        (float64 (L,) by name; empty for one learner), of the batch and of the pace
        (:func:`adam_pace`).
    """

    def loss_of_one(
        parameters: Parameters, state: State, batch: Batch, noise: Noise, varied: State
    ) -> tuple[Tensor, State, Metrics]:
        return algorithm.loss(parameters, state, batch, noise, with_values(config, varied))

    def update_targets_of_one(parameters: Parameters, state: State, varied: State) -> State:
        return algorithm.update_targets(parameters, state, with_values(config, varied))

    losses = torch.func.vmap(loss_of_one) if batched else loss_of_one
    update_targets = torch.func.vmap(update_targets_of_one) if batched else update_targets_of_one

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
        learner: LearnerState, varied: Varied, batch: Batch, pace: Pace
    ) -> tuple[LearnerState, Metrics]:
        dtype = dtype_of(learner)
        batch = _as_dtype(batch, dtype)
        shapes = algorithm.noise(batch.rewards.shape[-1], batch.actions.shape[-1], config)
        drawn = draw_noise(shapes, learner.seed, learner.step)
        noise = {name: numbers.to(dtype) for name, numbers in drawn.items()}
        gradients, (loss, state, metrics) = differentiate(
            transpose_weights(learner.parameters),
            transpose_weights(learner.state),
            batch,
            noise,
            dict(varied),
        )
        with torch.no_grad():
            kept_way = transpose_weights(gradients)
            # Squared: a finite gradient whose square overflows would make Adam's second moment
            # infinite, and the parameters NaN one update later.
            squares = [g.square().flatten(loss.ndim).sum(dim=-1) for g in kept_way.values()]
            healthy = torch.isfinite(loss + torch.stack(squares).sum(dim=0))
            alive = (learner.diverged_at < 0) & healthy
            count = learner.step + 1
            moments = _adam(learner, kept_way, pace)
            constrain_policy(moments[0])
            next_state = transpose_weights(
                update_targets(transpose_weights(moments[0]), _detached(state), dict(varied))
            )

            def kept(new: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> dict[str, Tensor]:
                return {
                    name: torch.where(_over(alive, tensor), new[name].to(tensor.dtype), tensor)
                    for name, tensor in old.items()
                }

            following = LearnerState(
                kept(moments[0], learner.parameters),
                kept(moments[1], learner.exp_avg),
                kept(moments[2], learner.exp_avg_sq),
                kept(next_state, learner.state),
                learner.seed,
                count,
                torch.where(alive | (learner.diverged_at >= 0), learner.diverged_at, count),
                learner.draws,
            )
        return following, _detached({"loss": loss, **metrics})

    return step


def adam_pace(learner: LearnerState, rate: Tensor | float) -> Pace:
    """What Adam's next step multiplies its moments by, of the shape of ``learner.step``.

    Apart from the step, since a compiler that fuses it into the pass over all parameters takes the
    powers anew for each of them.
    """
    exponent = (learner.step + 1).to(torch.float64)
    length = -rate / (1.0 - _BETAS[0] ** exponent)
    scale = (1.0 - _BETAS[1] ** exponent).rsqrt()
    dtype = dtype_of(learner)
    return Pace(length.to(dtype), scale.to(dtype))


def _adam(
    learner: LearnerState, gradients: Parameters, pace: Pace
) -> tuple[Parameters, Parameters, Parameters]:
    """Parameters and moments after a step of Adam (Kingma and Ba, 2015)."""
    parameters, firsts, seconds = {}, {}, {}
    for name, gradient in gradients.items():
        first = torch.lerp(learner.exp_avg[name], gradient, 1.0 - _BETAS[0])
        second = torch.lerp(learner.exp_avg_sq[name], gradient.square(), 1.0 - _BETAS[1])
        spread = second.sqrt() * _over(pace.scale, second) + _EPSILON
        step = first * _over(pace.length, first)
        parameters[name] = torch.addcdiv(learner.parameters[name], step, spread)
        firsts[name], seconds[name] = first, second
    return parameters, firsts, seconds


def dtype_of(learner: LearnerState) -> torch.dtype:
    """The type that learners compute in."""
    return next(iter(learner.parameters.values())).dtype


def _over(numbers: Tensor, tensor: Tensor) -> Tensor:
    """A number for each learner, or a scalar, of as many axes as the tensor."""
    return numbers.reshape(numbers.shape + (1,) * (tensor.ndim - numbers.ndim))


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
