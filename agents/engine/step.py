"""The training step, written once for one learner and for many of one structure.

Learners do not affect one another: a batched step maps the loss over a leading axis, and the
gradient of the sum of the losses is each learner's own. A learner whose loss or sum of squared
gradients is not finite keeps the state it had before, for good, with the number of the update at
which that happened; the others go on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recsim_drpo.agents.engine.algorithm import Algorithm, LossOutput, Noise, PolicyConfig, State
from recsim_drpo.agents.engine.networks import Parameters, constrain_policy
from recsim_drpo.core import rng
from recsim_drpo.core.transitions import Batch

Metrics = dict[str, Tensor]
Varied = Mapping[str, Tensor]
_Losses = Callable[..., LossOutput]
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


class AdamCoefficients(NamedTuple):
    """What Adam's next step multiplies its moments by, of the shape of ``LearnerState.step``.

    Attributes:
        step_size: minus the learning rate, over the bias correction 1 − β₁ᵗ of the first moment.
        second_moment_scale: 1 / √(1 − β₂ᵗ), the bias correction of the second moment's root.
    """

    step_size: Tensor
    second_moment_scale: Tensor


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
        drawn = rng.box_muller(words)[..., :size].to(torch.float32)
        noise[name] = drawn.reshape(*seed.shape, *shape)
    return noise


def make_step(
    algorithm: Algorithm,
    config: PolicyConfig,
    *,
    batched: bool,
    functional: bool,
) -> Callable[[LearnerState, Varied, Batch, AdamCoefficients], tuple[LearnerState, Metrics]]:
    """The function from a state and a batch to the state after one update, and its metrics.

    Args:
        algorithm: whose loss is descended.
        config: hyper-parameters.
        batched: whether states, varied hyper-parameters and batches have a leading learner axis.
        functional: take gradients by ``torch.func``, which the compiler can look into, instead of
            by autograd, which is quicker without it.

    Returns:
        a function of the state, of the hyper-parameters that take other values than in ``config``
        (float64 (L,) by name; empty for one learner), of the batch and of
        :func:`adam_coefficients`.
    """

    def loss_of_one(
        parameters: Parameters, state: State, batch: Batch, noise: Noise, varied: State
    ) -> LossOutput:
        return algorithm.loss(parameters, state, batch, noise, with_values(config, varied))

    def update_targets_of_one(parameters: Parameters, state: State, varied: State) -> State:
        return algorithm.update_targets(parameters, state, with_values(config, varied))

    losses = torch.func.vmap(loss_of_one) if batched else loss_of_one
    update_targets = torch.func.vmap(update_targets_of_one) if batched else update_targets_of_one
    differentiate = _gradients_by_functions if functional else _gradients_by_autograd

    def step(
        learner: LearnerState, varied: Varied, batch: Batch, coefficients: AdamCoefficients
    ) -> tuple[LearnerState, Metrics]:
        # The batch and the random numbers, in the type that learners compute in.
        dtype = dtype_of(learner)
        batch = _as_dtype(batch, dtype)
        shapes = algorithm.noise(batch.rewards.shape[-1], batch.actions.shape[-1], config)
        drawn = draw_noise(shapes, learner.seed, learner.step)
        noise = {name: numbers.to(dtype) for name, numbers in drawn.items()}

        # The loss, and the gradient of each learner's own.
        parameters, state = transpose_weights(learner.parameters), transpose_weights(learner.state)
        gradients, (loss, state, metrics) = differentiate(
            losses, parameters, state, batch, noise, dict(varied)
        )

        with torch.no_grad():
            # Adam, and after it the target networks.
            gradients = transpose_weights(gradients)
            parameters, exp_avg, exp_avg_sq = _adam(learner, gradients, coefficients)
            constrain_policy(parameters)
            state = update_targets(transpose_weights(parameters), _detached(state), dict(varied))

            # A learner that diverges, or did before, keeps all that it had.
            number = learner.step + 1
            is_sound = (learner.diverged_at < 0) & _is_finite(loss, gradients)
            next_learner = LearnerState(
                _where(is_sound, parameters, learner.parameters),
                _where(is_sound, exp_avg, learner.exp_avg),
                _where(is_sound, exp_avg_sq, learner.exp_avg_sq),
                _where(is_sound, transpose_weights(state), learner.state),
                learner.seed,
                number,
                torch.where(is_sound | (learner.diverged_at >= 0), learner.diverged_at, number),
                learner.draws,
            )
        return next_learner, _detached({"loss": loss, **metrics})

    return step


def _gradients_by_functions(
    losses: _Losses, parameters: Parameters, *others: Any
) -> tuple[Parameters, LossOutput]:
    """Gradients of the sum of the losses by ``torch.func``, and what the losses returned."""

    def total(parameters: Parameters, *others: Any) -> tuple[Tensor, LossOutput]:
        output = losses(parameters, *others)
        return output[0].sum(), output

    differentiated = torch.func.grad_and_value(total, has_aux=True)
    gradients, (_, output) = differentiated(parameters, *others)
    return gradients, output


def _gradients_by_autograd(
    losses: _Losses, parameters: Parameters, *others: Any
) -> tuple[Parameters, LossOutput]:
    """Gradients of the sum of the losses by autograd, and what the losses returned."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}
    output = losses(leaves, *others)
    gradients = torch.autograd.grad(output[0].sum(), list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, gradients, strict=True)), output


def _is_finite(loss: Tensor, gradients: Parameters) -> Tensor:
    """Whether loss and sum of squared gradients are finite: bool, of the shape of the loss.

    Squared: a finite gradient whose square overflows would make Adam's second moment infinite, and
    the parameters NaN one update later.
    """
    squares = [g.square().flatten(loss.ndim).sum(dim=-1) for g in gradients.values()]
    return torch.isfinite(loss + torch.stack(squares).sum(dim=0))


def adam_coefficients(learner: LearnerState, rate: Tensor | float) -> AdamCoefficients:
    """The coefficients of the learners' next step of Adam, in the type that they compute in.

    Apart from the step, since a compiler that fuses it into the pass over all parameters takes the
    powers anew for each of them.
    """
    exponent = (learner.step + 1).to(torch.float64)
    step_size = -rate / (1.0 - _BETAS[0] ** exponent)
    second_moment_scale = (1.0 - _BETAS[1] ** exponent).rsqrt()
    dtype = dtype_of(learner)
    return AdamCoefficients(step_size.to(dtype), second_moment_scale.to(dtype))


def _adam(
    learner: LearnerState, gradients: Parameters, coefficients: AdamCoefficients
) -> tuple[Parameters, Parameters, Parameters]:
    """Parameters, first and second moments after a step of Adam (Kingma and Ba, 2015, Alg. 1)."""
    parameters, exp_avg, exp_avg_sq = {}, {}, {}
    for name, gradient in gradients.items():
        first = torch.lerp(learner.exp_avg[name], gradient, 1.0 - _BETAS[0])
        second = torch.lerp(learner.exp_avg_sq[name], gradient.square(), 1.0 - _BETAS[1])
        denominator = second.sqrt() * _over(coefficients.second_moment_scale, second) + _EPSILON
        step = first * _over(coefficients.step_size, first)
        parameters[name] = torch.addcdiv(learner.parameters[name], step, denominator)
        exp_avg[name], exp_avg_sq[name] = first, second
    return parameters, exp_avg, exp_avg_sq


def dtype_of(learner: LearnerState) -> torch.dtype:
    """The type that learners compute in."""
    return next(iter(learner.parameters.values())).dtype


def _over(numbers: Tensor, tensor: Tensor) -> Tensor:
    """Numbers, one for each learner or a scalar, shaped to broadcast over the tensor."""
    return numbers.reshape(numbers.shape + (1,) * (tensor.ndim - numbers.ndim))


def _where(
    is_new: Tensor, new: Mapping[str, Tensor], old: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Tensors by name: the new ones of learners for which ``is_new`` holds, else the old ones."""
    return {
        name: torch.where(_over(is_new, tensor), new[name].to(tensor.dtype), tensor)
        for name, tensor in old.items()
    }


def with_values(config: PolicyConfig, values: Mapping[str, Any]) -> PolicyConfig:
    """The configuration with some fields replaced by tensors, unchecked as a check reads them."""
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
