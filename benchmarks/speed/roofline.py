"""Flops and bytes that an update cannot do without, and how fast a device does either.

A Gaussian policy's update is products of matrices with elementwise passes between them. Counted is
what cannot be left out: each product reads its factors and writes its result once, and what lies
between two products is one pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from recsim_drpo.agents.registry import make_agent
from recsim_drpo.benchmarks.speed.measuring import seconds_per_call
from recsim_drpo.core.torch_settings import matrix_precision
from recsim_drpo.core.transitions import Transitions

_FLOAT = 4
_COPIED = 2**28


class Product(NamedTuple):
    """A matrix (rows, inner) times one (inner, columns)."""

    rows: int
    inner: int
    columns: int

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.rows * self.inner * self.columns

    @property
    def num_bytes(self) -> int:
        """Both factors read and the result written, in float32."""
        numbers = self.rows * self.inner + self.inner * self.columns + self.rows * self.columns
        return _FLOAT * numbers


def update_products(batch_size: int, sizes: Sequence[int]) -> list[Product]:
    """The products of one learner's update: forward, of weights' and of inputs' gradients.

    Args:
        batch_size: B.
        sizes: of the network's layers, from observations to actions; nothing needs the gradient
            with respect to observations.
    """
    products = []
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        products.append(Product(batch_size, inputs, outputs))
        products.append(Product(outputs, batch_size, inputs))
        if layer > 0:
            products.append(Product(batch_size, outputs, inputs))
    return products


def pass_bytes(batch_size: int, sizes: Sequence[int]) -> int:
    """Bytes that the passes of one learner's update move besides its products.

    Observations, actions and rewards are read from the log and written into the batch. A hidden
    layer's bias and ReLU read and write it, their gradient reads two and writes one; the loss reads
    means and actions and writes a gradient. Adam reads four numbers a parameter and writes three.
    """
    observation_dim, *hidden, action_dim = sizes
    gathered = 2 * (observation_dim + action_dim + 1)
    between = 5 * sum(hidden) + 3 * action_dim
    weights = sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(sizes))
    parameters = weights + action_dim  # with log σ
    return _FLOAT * (batch_size * (gathered + between) + 7 * parameters)


def counted_flops(agent: str, transitions: Transitions, batch_size: int) -> int:
    """Flops of the products of one learner's update, counted as they are called."""
    learner = make_agent(
        agent,
        observation_dim=transitions.observation_dim,
        action_dim=transitions.action_dim,
        device=transitions.device,
        execution="eager",
    )
    generator = torch.Generator(transitions.device).manual_seed(0)
    batch = transitions.sample(batch_size, generator)
    learner.update(batch)  # the first finds out how exactly the processor multiplies
    with FlopCounterMode(display=False) as counter:
        learner.update(batch)
    return int(counter.get_total_flops())


@dataclass(frozen=True)
class Roofline:
    """The least time of an update of a fleet, in seconds, by arithmetic and by memory."""

    arithmetic: float
    memory: float

    @property
    def seconds(self) -> float:
        """The larger of the two."""
        return max(self.arithmetic, self.memory)

    @property
    def binding(self) -> str:
        """The name of the larger: ``"arithmetic"`` or ``"memory"``."""
        return "arithmetic" if self.arithmetic >= self.memory else "memory"


def measure_roofline(
    learners: int, batch_size: int, sizes: Sequence[int], precision: str, device: torch.device
) -> Roofline:
    """Flops of a fleet's update at the rate of its own batched products, its bytes at a copy's."""
    products = update_products(batch_size, sizes)
    with matrix_precision(precision, device):
        rate = max(_product_rate(learners, product, device) for product in set(products))
    flops = learners * sum(product.flops for product in products)
    num_bytes = learners * (
        sum(product.num_bytes for product in products) + pass_bytes(batch_size, sizes)
    )
    return Roofline(flops / rate, num_bytes / copy_bandwidth(device))


def _product_rate(learners: int, product: Product, device: torch.device) -> float:
    """Flop/s of one product of every learner."""
    left = torch.randn(learners, product.rows, product.inner, device=device)
    right = torch.randn(learners, product.inner, product.columns, device=device)
    out = torch.empty(learners, product.rows, product.columns, device=device)
    torch.bmm(left, right, out=out)
    seconds = seconds_per_call(lambda: torch.bmm(left, right, out=out), 20, device)
    return learners * product.flops / seconds


def copy_bandwidth(device: torch.device) -> float:
    """Bytes/s, read and written, of copying what no cache holds."""
    source = torch.zeros(_COPIED // _FLOAT, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2.0 * _COPIED / seconds_per_call(lambda: target.copy_(source), 20, device)
