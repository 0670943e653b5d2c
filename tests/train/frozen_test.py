"""Parts that are frozen: nothing is changed, kept or computed for them that only training needs."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from align_jax.losses import Objective
from align_jax.models import mllm
from align_jax.train import state
from align_jax.train.step import make_update
from align_jax.types import CompletionBatch
from tests import tiny

TX = optax.adam(1e-2)
BATCH = CompletionBatch(tiny.tree(4, 1), jnp.ones(4))
VISION, PROJECTOR, DECODER = "^vision/", "^projector/", "^decoder/"


def make(frozen: tuple[str, ...], config: mllm.MLLMConfig = tiny.CONFIG, microbatches: int = 1):
    """An update and the state that it starts from."""
    start = state.create(tiny.params(), TX, frozen)
    objective = Objective.build({"name": "sft"})
    return make_update(tiny.policy(config), objective, TX, frozen=frozen, microbatches=microbatches), start


@functools.cache
def products(*frozen: str, config: mllm.MLLMConfig = tiny.CONFIG, microbatches: int = 1) -> int:
    """Matrix products of an update; those of the layers of a scan are counted for one layer."""
    update, start = make(frozen, config, microbatches)
    return count_products(jax.make_jaxpr(update)(start, None, BATCH).jaxpr)


def count_products(jaxpr) -> int:
    inner = jax.tree.leaves([list(e.params.values()) for e in jaxpr.eqns], is_leaf=lambda x: hasattr(x, "jaxpr"))
    inner = [getattr(x, "jaxpr", x) for x in inner]
    here = sum(e.primitive.name == "dot_general" for e in jaxpr.eqns)
    return here + sum(count_products(x) for x in inner if hasattr(x, "eqns"))


def kernels(part: str) -> int:
    """Weight matrices of a part, or of one of its layers."""
    return len([n for n in state.split_frozen(tiny.params(), ())[0] if n.startswith(part) and n.endswith("kernel")])


@pytest.mark.parametrize("frozen", [(VISION,), (PROJECTOR,), (DECODER,), (VISION, DECODER)], ids=str)
def test_frozen_parts_stay_bit_for_bit_and_have_no_optimizer_state(frozen):
    update, start = make(frozen)
    update, end = jax.jit(update), start
    for _ in range(2):
        end, _ = update(end, None, BATCH)
    trained = state.split_frozen(start.params, frozen)[0].keys()
    assert trained and not any(name.startswith(part[1:]) for name in trained for part in frozen)
    for moments in (end.opt_state[0].mu, end.opt_state[0].nu):
        assert moments.keys() == trained
    after = state.split_frozen(end.params, ())[0]
    for name, before in state.split_frozen(start.params, ())[0].items():
        assert (np.asarray(before).tobytes() == np.asarray(after[name]).tobytes()) == (name not in trained), name


@pytest.mark.parametrize("microbatches", [1, 2])
def test_a_frozen_tower_has_no_backward_pass(microbatches):
    """Each product has two in the backward pass, but the first has one: nobody asks for the gradient of pixels.
    Neither does anybody for that of what the projector takes, once the tower is frozen.
    """
    tower = mllm.MLLM(tiny.CONFIG)
    pixels = BATCH.tree.media.pixels[:, 0]
    see = functools.partial(tower.apply, method=lambda model, pixels: model.vision(pixels))
    forward = count_products(jax.make_jaxpr(see)({"params": tiny.params()}, pixels).jaxpr)
    assert forward == kernels("vision/") + 2, "attention has two more"
    saved = products(microbatches=microbatches) - products(VISION, microbatches=microbatches)
    assert saved == (2 * forward - 1) + 1


def test_a_frozen_tower_is_not_recomputed_either():
    remat = dataclasses.replace(tiny.CONFIG, vision=dataclasses.replace(tiny.CONFIG.vision, remat=True))
    assert products(VISION, config=remat) == products(VISION)
    assert products(config=remat) > products()


def test_a_frozen_projector_behind_a_frozen_tower_has_no_backward_pass():
    """Of its two products, one had no gradient of its input any more."""
    assert kernels("projector/") == 2
    assert products(VISION) - products(VISION, PROJECTOR) == 2 * 2 - 1


@pytest.mark.parametrize(("frozen", "others"), [(DECODER, ()), (DECODER, (VISION,)), (PROJECTOR, ())], ids=str)
def test_what_lies_behind_a_trained_part_hands_its_gradient_on_and_makes_none_of_its_weights(frozen, others):
    assert products(*others) - products(frozen, *others) == kernels(frozen[1:])


def test_gradients_of_the_others_are_those_of_training_everything():
    def grads(frozen: tuple[str, ...]):
        tx = optax.sgd(1.0)
        objective = Objective.build({"name": "sft"})
        update = jax.jit(make_update(tiny.policy(), objective, tx, frozen=frozen))
        end, _ = update(state.create(tiny.params(), tx, frozen), None, BATCH)
        return state.split_frozen(jax.tree.map(jnp.subtract, tiny.params(), end.params), frozen)[0]

    every, some = grads(()), grads((VISION, DECODER))
    assert some.keys() == {name for name in every if name.startswith("projector/")}
    for name, gradient in some.items():
        assert jnp.abs(gradient).max() > 1e-3
        np.testing.assert_allclose(gradient, every[name], atol=1e-6)
