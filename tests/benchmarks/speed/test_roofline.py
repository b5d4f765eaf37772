from __future__ import annotations

import torch

from recsim_drpo.benchmarks.speed.measuring import random_transitions
from recsim_drpo.benchmarks.speed.roofline import (
    Roofline,
    counted_flops,
    pass_bytes,
    update_products,
)

CPU = torch.device("cpu")


def test_products_and_passes_of_an_update_by_hand():
    # Layers 2 → 3 → 1 on 4 rows. The first has 2·4·2·3 = 48 flops forward and 48 for its weights'
    # gradient; the second 24 forward, 24 and 24 for its inputs' gradient.
    products = update_products(4, (2, 3, 1))
    assert sorted(product.flops for product in products) == [24, 24, 24, 48, 48]
    assert products[0].num_bytes == 4 * (4 * 2 + 2 * 3 + 4 * 3)
    # Of a row: 2 + 1 + 1 numbers read and written, 5 a hidden unit, 3 an action. Parameters:
    # 2·3 + 3, 3·1 + 1, and one log σ.
    assert pass_bytes(4, (2, 3, 1)) == 4 * (4 * (2 * 4 + 5 * 3 + 3) + 7 * (9 + 4 + 1))


def test_flops_of_bc_are_those_of_its_products():
    by_hand = 2 * 320 * (2 * 10 * 128 + 3 * 128 * 128 + 3 * 128 * 128)
    assert sum(product.flops for product in update_products(320, (10, 128, 128, 128))) == by_hand
    log = random_transitions(400, CPU)
    assert counted_flops("bc", log, 320) == by_hand
    assert counted_flops("drpo", log, 320) == by_hand


def test_flops_of_iql_by_hand():
    # Of a network with layers 128 × 128 and 128 × 1 after the first: once forward, or thrice (the
    # first layer twice) with gradients.
    def forward(inputs):
        return 2 * 320 * (inputs * 128 + 128 * 128 + 128)

    def trained(inputs):
        return 2 * 320 * (2 * inputs * 128 + 3 * 128 * 128 + 3 * 128)

    policy = 2 * 320 * (2 * 10 * 128 + 6 * 128 * 128)
    critics = trained(10) + forward(10) + 2 * trained(138) + 2 * forward(138)
    assert counted_flops("iql", random_transitions(400, CPU), 320) == policy + critics


def test_the_larger_bound_binds():
    assert Roofline(2.0, 1.0).binding == "arithmetic"
    assert Roofline(1.0, 3.0).binding == "memory"
    assert Roofline(1.0, 3.0).seconds == 3.0
