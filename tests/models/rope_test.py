import jax.numpy as jnp
import numpy as np
import pytest

from align_jax.models.rope import Rope, rotary, rotate

HEAD = 16


def inverse(theta=10000.0):
    """theta ** (-2i / D), in float64."""
    return np.array([theta ** (-2 * i / HEAD) for i in range(HEAD // 2)])


def test_frequencies_fall_geometrically_from_one():
    for theta in (10000.0, 1e6):
        found, scale = Rope(theta).frequencies(HEAD)
        assert found.dtype == np.float32 and scale == 1.0
        np.testing.assert_allclose(found, inverse(theta), rtol=1e-6)


def test_linear_divides_positions():
    np.testing.assert_allclose(Rope(kind="linear", factor=8.0).frequencies(HEAD)[0], inverse() / 8, rtol=1e-6)


def test_llama3_stretches_long_wavelengths_only():
    rope = Rope(kind="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=1000)
    found, scale = rope.frequencies(HEAD)
    wavelength = 2 * np.pi / inverse()
    short, long = wavelength < 1000 / 4, wavelength > 1000
    assert scale == 1.0 and short.any() and long.any() and (~short & ~long).any()
    np.testing.assert_allclose(found[short], inverse()[short], rtol=1e-6)
    np.testing.assert_allclose(found[long], inverse()[long] / 8, rtol=1e-6)
    ratio = (inverse() / found)[~short & ~long]
    assert (ratio > 1).all() and (ratio < 8).all()


def test_yarn_keeps_fast_turns_stretches_slow_ones_and_scales():
    found, scale = Rope(kind="yarn", factor=4.0, original_context=512).frequencies(HEAD)
    turns = 512 * inverse() / (2 * np.pi)
    np.testing.assert_allclose(found[turns > 32], inverse()[turns > 32], rtol=1e-6)
    np.testing.assert_allclose(found[turns < 0.5], inverse()[turns < 0.5] / 4, rtol=1e-6)
    assert (np.diff(found) < 0).all()
    np.testing.assert_allclose(scale, 0.1 * np.log(4) + 1)
    assert Rope(kind="yarn", factor=4.0, original_context=512, attention_factor=1.5).frequencies(HEAD)[1] == 1.5
    cos, sin = rotary(Rope(kind="yarn", factor=4.0, original_context=512), jnp.arange(9)[:, None], HEAD)
    np.testing.assert_allclose(cos**2 + sin**2, np.full((9, HEAD // 2), scale**2), rtol=1e-5)


def test_dynamic_stretches_nothing_up_to_the_context_and_is_refused_beyond_it():
    rope = Rope(kind="dynamic", factor=2.0, original_context=32)
    np.testing.assert_array_equal(rope.frequencies(HEAD)[0], Rope().frequencies(HEAD)[0])
    rope.check(32)
    with pytest.raises(ValueError, match="texts of 33 tokens: .*'dynamic' is the same for all lengths up to 32 only"):
        rope.check(33)
    Rope(kind="yarn", factor=2.0, original_context=32).check(33)


def test_a_kind_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="'longrope' is not known: default, dynamic, linear, llama3 and yarn are"):
        Rope(kind="longrope").frequencies(HEAD)


POSITIONS = np.random.default_rng(0).integers(0, 50, (2, 5, 3))
SECTIONS = {  # axis of each of the 8 frequencies
    Rope(sections=(2, 3, 3)): [0, 0, 1, 1, 1, 2, 2, 2],  # Qwen2-VL: one after the other
    Rope(sections=(4, 2, 2), interleaved=True): [0, 1, 2, 0, 1, 2, 0, 0],  # Qwen3-VL: in turns, time has the rest
}


@pytest.mark.parametrize("rope", SECTIONS)
def test_each_frequency_turns_by_its_own_axis(rope):
    cos, sin = rotary(rope, jnp.asarray(POSITIONS), HEAD)
    assert cos.shape == sin.shape == (2, 5, HEAD // 2) and cos.dtype == jnp.float32
    for row in range(2):
        for token in range(5):
            for i, axis in enumerate(SECTIONS[rope]):
                angle = POSITIONS[row, token, axis] * 10000.0 ** (-2 * i / HEAD)
                np.testing.assert_allclose(
                    [cos[row, token, i], sin[row, token, i]], [np.cos(angle), np.sin(angle)], atol=2e-5
                )


@pytest.mark.parametrize("rope", SECTIONS)
def test_equal_axes_are_text_as_are_positions_of_one_axis(rope):
    counted = jnp.arange(7)[None, :, None]
    plain = rotary(Rope(), counted, HEAD)
    for positions in (counted, jnp.broadcast_to(counted, (1, 7, 3))):
        np.testing.assert_allclose(rotary(rope, positions, HEAD), plain, atol=1e-6)


def test_rotation_turns_pairs_half_a_head_apart():
    x = np.random.default_rng(1).normal(size=(2, 5, 3, HEAD)).astype(np.float32)
    cos, sin = rotary(Rope(), jnp.asarray(POSITIONS[..., :1]), HEAD)
    turned = rotate(jnp.asarray(x), cos, sin)
    plane = x[..., : HEAD // 2] + 1j * x[..., HEAD // 2 :]
    plane = plane * np.exp(1j * POSITIONS[..., :1, None] * inverse())
    np.testing.assert_allclose(turned, np.concatenate([plane.real, plane.imag], -1), atol=1e-4)
    assert rotate(jnp.asarray(x, jnp.bfloat16), cos, sin).dtype == jnp.bfloat16


def test_scores_depend_on_distances_alone():
    q, k = np.random.default_rng(2).normal(size=(2, 1, 1, 1, HEAD)).astype(np.float32)

    def score(here, there):
        turned = (
            rotate(jnp.asarray(x), *rotary(Rope(), jnp.full((1, 1, 1), at), HEAD)) for x, at in ((q, here), (k, there))
        )
        return (next(turned) * next(turned)).sum()

    np.testing.assert_allclose(score(9, 4), score(25, 20), atol=1e-4)
    assert abs(score(9, 4) - score(9, 5)) > 1e-2
