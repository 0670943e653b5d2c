import numpy as np
import pytest

from align_jax.data.pack import TreePacker
from align_jax.losses.fdpo import ACCURATE, ANALYSIS, INACCURATE, UNSURE, SegmentBatch, fdpo
from align_jax.types import Example, Prompt, Span
from tests.losses import cases

A, I, N, U = ACCURATE, INACCURATE, ANALYSIS, UNSURE  # noqa: E741


def run(policy, reference, mask, weight, segments, labels, **hyper):
    batch = SegmentBatch(None, weight, np.asarray(segments, np.int32), np.asarray(labels, np.int32))
    return fdpo(cases.scores(policy, mask), cases.scores(reference, mask), batch, **hyper)


def test_hand_derived_value():
    # Segment 1, accurate: (-1 - 2) - (-2 - 2) = 1. Segment 2, inaccurate: -4 - (-2) = -2, turned to 2. Segment 3,
    # analysis, is skipped, and so is the last token, in no segment. Mean of softplus(-.5) and softplus(-1) at beta .5.
    policy, reference = np.array([[-1.0, -2.0, -4.0, -9.0, -7.0]]), np.array([[-2.0, -2.0, -2.0, -1.0, -1.0]])
    case = policy, reference, np.ones((1, 5)), np.ones(1), [[1, 1, 2, 3, 0]], [[A, I, N, U, U]]
    mean, metrics = run(*case, beta=0.5)
    np.testing.assert_allclose(mean.value, (np.log1p(np.exp(-0.5)) + np.log1p(np.exp(-1.0))) / 2, rtol=1e-6)
    assert mean.count == 2 and metrics["rewards/accuracies"].value == 1.0
    assert metrics["rewards/chosen"].value == 0.5 and metrics["rewards/rejected"].value == -1.0


def test_analysis_counts_as_inaccurate_on_request_only():
    case = np.array([[-3.0, -1.0]]), np.array([[-1.0, -1.0]]), np.ones((1, 2)), np.ones(1), [[1, 0]], [[N, U]]
    assert run(*case)[0].count == 0 and run(*case)[0].value == 0
    mean, _ = run(*case, beta=0.5, analysis_is_inaccurate=True)
    np.testing.assert_allclose(mean.value, np.log1p(np.exp(-1.0)), rtol=1e-6)  # k = -(-3 + 1) = 2
    unsure = (*case[:5], [[U, U]])
    assert run(*unsure, analysis_is_inaccurate=True)[0].count == 0


@pytest.mark.parametrize("analysis_is_inaccurate", [False, True])
@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_value_and_gradient_equal_the_formula(beta, analysis_is_inaccurate):
    mask, weight = cases.mask(completions=1)[0], cases.weight()
    policy, reference = cases.logps(mask, 1), cases.logps(mask, 2)
    rng = np.random.default_rng(3)
    segments = np.sort(rng.integers(0, 4, mask.shape), axis=1)  # runs of 0, 1, 2, 3, some of them missing
    labels = rng.integers(0, 4, mask.shape)
    labels[3:] = U  # segment numbers reach 3, and labels of segments without tokens are never given
    labels[:, 3:] = U
    labels[:3, :3] = [[A, I, N], [I, A, A], [N, I, U]]
    labels[4, :3] = A
    labels[:, :3][~np.stack([(segments * mask == s).any(1) for s in (1, 2, 3)], 1)] = U

    def expected(x):
        losses = []
        for row in range(4):  # the fifth is padding
            for s in (1, 2, 3):
                inside = segments[row] == s
                k = (x[row, inside] - reference[row, inside].astype(np.float64)).sum()
                kind = labels[row, s - 1]
                if kind == I or (kind == N and analysis_is_inaccurate):
                    losses.append(np.log1p(np.exp(beta * k)))
                elif kind == A:
                    losses.append(np.log1p(np.exp(-beta * k)))
        assert losses
        return np.mean(losses)

    def loss(x):
        hyper = dict(beta=beta, analysis_is_inaccurate=analysis_is_inaccurate)
        return run(x, reference, mask, weight, segments, labels, **hyper)[0].value

    cases.check(loss, expected, policy, mask)


def pack(spans, length=6):
    prompt = Prompt(np.array([1, 4], np.int32))
    example = Example("a", prompt, {"chosen": np.arange(5, 10, dtype=np.int32)}, spans={"chosen": spans})
    return SegmentBatch.pack([example], TreePacker(2, 3, length, pad_id=0))


def test_a_segment_without_tokens_of_its_own_is_skipped():
    spans = [Span(0, 2, "accurate"), Span(1, 2, "Inaccurate"), Span(2, 2, "accurate"), Span(3, 5, "analysis")]
    batch = pack(spans)
    np.testing.assert_array_equal(batch.segments, [[1, 2, 0, 4, 4, 0], [0] * 6])
    np.testing.assert_array_equal(batch.labels, [[A, I, U, N, U, U], [U] * 6])
    np.testing.assert_array_equal(batch.weight, [1, 0])


def test_an_unknown_label_is_refused_by_name():
    def check(spans):
        ids = {"chosen": np.arange(5, 9, dtype=np.int32)}
        return SegmentBatch.reads.check(Example("a", Prompt(np.array([1, 4], np.int32)), ids, spans={"chosen": spans}))

    assert check([Span(0, 2, "Accurate"), Span(2, 3, "unsure")]) == ""
    assert "labelled 'good': write one of accurate" in check([Span(0, 2, "good")])
    assert "labelled '1.0'" in check([Span(0, 2)]), "a label that is left out is none of them"
    assert "5 segments" in check([Span(0, 2, "accurate")] * 5)
