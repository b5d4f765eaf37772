"""Learners on a device: one, or many of one structure that train as one batched computation."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from recsim_drpo.agents.engine.algorithm import Algorithm, PolicyConfig
from recsim_drpo.agents.engine.compiling import CompiledUpdate, Update, make_update
from recsim_drpo.agents.engine.cuda_graph import CudaGraphStep, overwrite
from recsim_drpo.agents.engine.initial import check_size, init_parameters
from recsim_drpo.agents.engine.networks import Parameters, policy_moments
from recsim_drpo.agents.engine.options import COMPILED_FROM, EngineOptions
from recsim_drpo.agents.engine.programs import available
from recsim_drpo.agents.engine.step import (
    LearnerState,
    Metrics,
    transpose_weights,
)
from recsim_drpo.core import rng
from recsim_drpo.core.config import field_rules
from recsim_drpo.core.memory import keep_freed_memory
from recsim_drpo.core.negatives import NegativeSampler, check_infos
from recsim_drpo.core.torch_settings import matrix_precision
from recsim_drpo.core.transitions import Batch, Transitions, check_batch
from recsim_drpo.core.validation import check_integer, check_seed


def numeric_fields(config: type[PolicyConfig]) -> set[str]:
    """Names of hyper-parameters that may differ between learners of one engine: real numbers."""
    return {name for name, rule in field_rules(config).items() if rule.kind is float}


class Engine:
    """Learners that share a structure: their state, and the step that trains them all at once.

    Args:
        algorithm: what they minimise.
        observation_dim: o ≥ 1.
        action_dim: a ≥ 1.
        configs: hyper-parameters of each; only :func:`numeric_fields` may differ.
        seeds: of each, integers in [0, 2**63).
        batched: whether tensors have a leading learner axis; without it there is one learner.
        options: where and how they compute; by default float32 on the CPU.
        initial: parameters by name that all start from, in place of :func:`init_parameters`.

    Raises:
        ValueError: a value out of its range, an option that the device does not have, or initial
            parameters that do not fit.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        observation_dim: int,
        action_dim: int,
        configs: Sequence[PolicyConfig],
        seeds: Sequence[int],
        *,
        batched: bool,
        options: EngineOptions | None = None,
        initial: Mapping[str, Tensor] | None = None,
    ) -> None:
        check_integer("observation_dim", observation_dim, 1)
        check_integer("action_dim", action_dim, 1)
        observation_dim, action_dim = map(operator.index, (observation_dim, action_dim))
        check_size(algorithm, observation_dim, action_dim, configs)
        options = options or EngineOptions()
        self.device = options.checked_device()
        self.dtype, self.precision = options.dtype, options.precision
        self.execution = options.execution
        self.algorithm, self.config = algorithm, configs[0]
        self.observation_dim, self.action_dim = observation_dim, action_dim
        self.infos = tuple(algorithm.infos(self.config))
        self.num_negatives = algorithm.negatives(self.config)
        self._batched = batched
        self._captures = self.device.type == "cuda" and self.execution != "eager"
        self._graph_owns_state = False
        states = [
            self._initial_state(config, check_seed(seed), initial)
            for config, seed in zip(configs, seeds, strict=True)
        ]
        stacked = pytree.tree_map(lambda *each: torch.stack(each), *states)
        self.learner: LearnerState = pytree.tree_map(
            lambda tensor: tensor.to(self.device), stacked if batched else states[0]
        )
        values = {
            name: [getattr(config, name) for config in configs]
            for name in sorted(numeric_fields(type(self.config)))
        }
        self._varied = {
            name: torch.tensor(column, dtype=torch.float64).to(self.device)
            for name, column in values.items()
            if len(set(column)) > 1
        }
        compiles = self.execution == "compile"
        self._has_programs = self.device.type == "cpu" and available()
        self._advance: Update
        if compiles and self._has_programs:
            self._overwrite_by(self._compiled_update())
        else:
            self._advance = make_update(algorithm, self.config, batched=batched, compiles=compiles)

    def _initial_state(
        self, config: PolicyConfig, seed: int, initial: Mapping[str, Tensor] | None
    ) -> LearnerState:
        """The state of one learner before its first update, on the CPU."""
        drawn = init_parameters(self.algorithm, self.observation_dim, self.action_dim, config, seed)
        if initial is not None:
            self._check_shapes(drawn, initial, "parameters to start from do")
            drawn = {name: initial[name].detach().to("cpu", self.dtype) for name in drawn}
        state = self.algorithm.init_state(drawn, config)

        def in_own_type(tensor: Tensor) -> Tensor:
            # But for counters, and what asks for float64.
            is_real = tensor.dtype == torch.float32
            return (tensor.to(self.dtype) if is_real else tensor).contiguous()

        parameters, state = (
            {name: in_own_type(tensor) for name, tensor in transpose_weights(tensors).items()}
            for tensors in (drawn, state)
        )
        return LearnerState(
            parameters,
            exp_avg={name: torch.zeros_like(tensor) for name, tensor in parameters.items()},
            exp_avg_sq={name: torch.zeros_like(tensor) for name, tensor in parameters.items()},
            state=state,
            seed=torch.tensor(seed),
            step=torch.tensor(0),
            diverged_at=torch.tensor(-1),
            draws=torch.tensor(0),
        )

    @property
    def axes(self) -> tuple[int, ...]:
        """The leading axes of every tensor: (L,), or none."""
        return tuple(self.learner.seed.shape)

    @property
    def parameters(self) -> Parameters:
        """Views of the networks' parameters by name, with the leading axes."""
        return transpose_weights(self.learner.parameters)

    def update(self, batch: Batch) -> Metrics:
        """One optimiser step of every learner; metrics have the shape of :attr:`axes`.

        Raises:
            ValueError: the batch's shapes do not fit, or it lacks an info column that the loss
                reads.
        """
        check_batch(batch, self.observation_dim, self.action_dim, self.axes)
        draws = self.num_negatives > 0
        check_infos(self.algorithm.name, self.infos, [*batch.infos], "batch", draws)
        with matrix_precision(self.precision, self.device):
            next_learner, metrics = self._advance(self.learner, self._varied, batch)
        self._adopt(next_learner)
        return metrics

    def make_train_step(
        self,
        transitions: Transitions,
        batch_size: int,
        spans: Tensor | None = None,
        updates: int = 0,
    ) -> Callable[[Tensor], Metrics]:
        """A function that makes one optimiser step of every learner on transitions of a log.

        Gathering is part of what is captured. Where it is captured, metrics are overwritten by the
        next call. (A compiler would gather anew for every use of a batch.)

        Args:
            transitions: the log, on the learners' device.
            batch_size: B ≥ 1.
            spans: as of :class:`.core.negatives.NegativeSampler`.
            updates: how many will be made, as far as is known: see :class:`.options.EngineOptions`.

        Returns:
            a function of indices into the log, int64 (*axes, B), that returns metrics.

        Raises:
            ValueError: the log's shapes do not fit, it is on another device, lacks an info column
                that the loss reads, or has rewards that the algorithm does not take.
        """
        for what in ("observation_dim", "action_dim", "device"):
            theirs, own = getattr(transitions, what), getattr(self, what)
            if theirs != own:
                raise ValueError(
                    f"The log has {what}={str(theirs)!r}; the agent {self.algorithm.name!r} was "
                    f"made for {str(own)!r}."
                )
        check_infos(self.algorithm.name, self.infos, [*transitions.infos], "log")
        self.algorithm.check_rewards(transitions.rewards)
        sampler = (
            NegativeSampler(transitions, self.num_negatives, batch_size, self.axes, spans)
            if self.num_negatives
            else None
        )
        log = transitions if sampler is None else sampler.transitions

        unread: dict[str, Tensor] = {}
        keep_freed_memory()

        def take(learner: LearnerState, indices: Tensor) -> Batch:
            batch = log.take(indices, unread)
            if sampler is not None:
                batch = sampler.add_to(batch, indices, learner.seed, learner.step)
            return batch

        example = torch.zeros(*self.axes, batch_size, dtype=torch.int64, device=self.device)
        by = self._compiled_for(updates)
        terminal = by is not None and log.always_terminates
        if by is not None and not self._prepare(by, take(self.learner, example), terminal, unread):
            by = None

        def advance(learner: LearnerState, indices: Tensor) -> tuple[LearnerState, Metrics]:
            batch = take(learner, indices)
            if by is None:
                return self._advance(learner, self._varied, batch)
            return by(learner, self._varied, batch, terminal)

        if self._captures:
            self._graph_owns_state = True
            with matrix_precision(self.precision, self.device):
                return CudaGraphStep(advance, self.learner, example)

        def train_step(indices: Tensor) -> Metrics:
            with matrix_precision(self.precision, self.device):
                next_learner, metrics = advance(self.learner, indices)
            self._adopt(next_learner)
            return metrics

        return train_step

    bind = make_train_step  # its former name

    def _compiled_for(self, updates: int) -> CompiledUpdate | None:
        """What compiles so many updates, if they are to be compiled."""
        if isinstance(self._advance, CompiledUpdate):
            return self._advance
        is_long = self.execution == "auto" and updates >= COMPILED_FROM
        return self._compiled_update() if is_long and self._has_programs else None

    def _prepare(
        self, update: CompiledUpdate, batch: Batch, terminal: bool, unread: dict[str, Tensor]
    ) -> bool:
        """Have such batches' update compiled, note what of them is not read; whether that works."""
        given = self.learner, self._varied, batch, terminal
        with matrix_precision(self.precision, self.device):
            if self.execution == "auto" and not update.works(*given):
                return False
            unread |= update.unread(*given)
        if update is not self._advance:
            self._overwrite_by(update)
        return True

    def _compiled_update(self) -> CompiledUpdate:
        return CompiledUpdate(self.algorithm, self.config, batched=self._batched)

    def _overwrite_by(self, update: CompiledUpdate) -> None:
        """Update by what overwrites the state: its tensors become the engine's own, each once."""
        self.learner = pytree.tree_map(torch.clone, self.learner)
        self._advance = update

    def _adopt(self, next_learner: LearnerState) -> None:
        """Make a state the engine's own: in place where a graph reads and writes its tensors."""
        if self._graph_owns_state:
            overwrite(self.learner, next_learner)
        else:
            self.learner = next_learner

    @torch.no_grad()
    def act(self, observations: Tensor) -> Tensor:
        """The policies' means (*axes, B, a) for observations (B, o) or (*axes, B, o)."""
        return self._moments(observations)[0]

    @torch.no_grad()
    def sample(self, observations: Tensor, generator: torch.Generator | None) -> Tensor:
        """Actions (*axes, B, a) drawn from the policies: as their own seeds say, or a generator."""
        mean, log_std = self._moments(observations)
        if generator is not None:
            noise = torch.randn(mean.shape, generator=generator, device=generator.device)
        else:
            size = mean.shape[-2] * mean.shape[-1]
            seed, count = self.learner.seed.reshape(-1), self.learner.draws.reshape(-1)
            words = rng.philox_4x32(seed, rng.Stream.AGENT_SAMPLE, count, size + size % 2)
            noise = rng.box_muller(words)[:, :size].reshape(mean.shape)
            self._adopt(self.learner._replace(draws=self.learner.draws + 1))
        return mean + noise.to(self.device, mean.dtype) * log_std.exp()

    def _moments(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log σ, both (*axes, B, a), of the policies at observations."""

        def moments_of_one(parameters: Parameters, inputs: Tensor) -> tuple[Tensor, Tensor]:
            mean, log_std = policy_moments(parameters, inputs, self.config.sigma)
            return mean, log_std.expand_as(mean)

        observations = observations.to(self.dtype)
        if not self._batched:
            return moments_of_one(self.parameters, observations)
        shared = 0 if observations.ndim == 3 else None
        moments: tuple[Tensor, Tensor] = torch.func.vmap(moments_of_one, in_dims=(0, shared))(
            self.parameters, observations
        )
        return moments

    def state_dict(self, row: int | None = None) -> dict[str, Tensor]:
        """Copies of everything that training changes, as a flat dictionary of tensors.

        Keys: ``parameters.*``, ``adam.exp_avg.*`` and ``adam.exp_avg_sq.*`` of each parameter,
        ``state.*``, ``seed``, ``step``, ``diverged_at`` and ``draws``. With a ``row``, those of
        that learner alone, without the leading axis.
        """
        learner = self.learner
        tensors: dict[str, Tensor] = {}
        for prefix, named in (
            ("state", learner.state),
            ("parameters", learner.parameters),
            ("adam.exp_avg", learner.exp_avg),
            ("adam.exp_avg_sq", learner.exp_avg_sq),
        ):
            tensors |= {
                f"{prefix}.{name}": value for name, value in transpose_weights(named).items()
            }
        for name in ("seed", "step", "diverged_at", "draws"):
            tensors[name] = getattr(learner, name)
        dense = torch.contiguous_format  # of a transposed view as well
        return {
            k: (v if row is None else v[row]).detach().clone(memory_format=dense)
            for k, v in tensors.items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`state_dict` returned; all or nothing.

        Raises:
            ValueError: tensors are missing, unknown or of another shape; nothing is changed then.
        """
        own = self.state_dict()
        self._check_shapes(own, state, "state does")

        def tensors_of(prefix: str, names: Iterable[str]) -> Parameters:
            return transpose_weights({name: state[f"{prefix}.{name}"] for name in names})

        parameters = self.learner.parameters
        restored = LearnerState(
            tensors_of("parameters", parameters),
            tensors_of("adam.exp_avg", parameters),
            tensors_of("adam.exp_avg_sq", parameters),
            tensors_of("state", self.learner.state),
            *(state[name] for name in ("seed", "step", "diverged_at", "draws")),
        )
        self._adopt(
            pytree.tree_map(
                lambda new, old: (
                    new.detach()
                    .to(self.device, old.dtype)
                    .clone(memory_format=torch.contiguous_format)
                ),
                restored,
                self.learner,
            )
        )

    def _check_shapes(
        self, own: Mapping[str, Tensor], state: Mapping[str, Tensor], subject: str
    ) -> None:
        """Raise ``ValueError`` unless ``state`` has tensors of the same names, kinds and shapes."""
        for name in sorted(own.keys() | state.keys()):
            given = _form(state[name]) if name in state else "missing"
            expected = _form(own[name]) if name in own else "not there"
            if given != expected:
                raise ValueError(
                    f"The {subject} not fit this {self.algorithm.name!r} agent (observation_dim="
                    f"{self.observation_dim}, action_dim={self.action_dim}): {name!r} is {given}, "
                    f"expected {expected}."
                )


def _form(value: object) -> str:
    """The shape of a tensor, and its kind where it has no real numbers, as an error shows them."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    kind = "booleans " if value.dtype == torch.bool else "integers "
    return f"{'' if value.is_floating_point() else kind}{tuple(value.shape)}"
