import dataclasses

import numpy as np
import pytest

from align_jax.data import easy_vqa, scenes

PRIOR = scenes.Prior.draw(3)


def rows(scene):
    return [scene.labels[:2], scene.labels[2:]]


def drawn(n, **how):
    rng = np.random.default_rng(0)
    return [scenes.draw(rng, scenes.pool("sft"), **how) for _ in range(n)]


def test_pools_share_no_picture_and_split_each_class_in_two():
    sft, preference = scenes.pool("sft"), scenes.pool("preference")
    assert len(sft.labels) + len(preference.labels) == 3542
    assert len(scenes.pool("evaluation").labels) == 880
    counts = [np.bincount(p.labels, minlength=24) for p in (sft, preference)]
    assert set(counts[0] - counts[1]) <= {0, 1}
    tiles = [{t.tobytes() for t in scenes.pool(name).tiles} for name in ("sft", "preference", "evaluation")]
    assert not (tiles[0] & tiles[1] or tiles[0] & tiles[2] or tiles[1] & tiles[2])


def test_a_tile_is_its_picture_at_half_the_size():
    picture, tile = easy_vqa.load("test").pixels[5], scenes.pool("evaluation").tiles[5]
    for y, x in ((0, 0), (16, 16), (31, 7)):
        four = picture[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].reshape(4, 3)
        np.testing.assert_allclose(tile[y, x], four.sum(0) / 4, atol=0.5)


def test_official_questions_stay_with_their_picture():
    for name in ("sft", "preference", "evaluation"):
        pool = scenes.pool(name)
        for q in pool.questions:
            if q.answer in easy_vqa.SHAPES:
                assert pool.labels[q.image] % 3 == easy_vqa.SHAPES.index(q.answer)
            elif q.answer in easy_vqa.COLORS:
                assert pool.labels[q.image] // 3 == easy_vqa.COLORS.index(q.answer)
    assert len(scenes.pool("sft").questions) + len(scenes.pool("preference").questions) == 35240


def test_render_puts_cells_in_reading_order_and_leaves_white():
    tiles = np.stack([np.full((32, 32, 3), v, np.uint8) for v in (10, 20, 30)])
    image = scenes.render(scenes.Scene((2, -1, 0, 1), (0, -1, 1, 2)), tiles)
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert (image[:32, :32] == 30).all() and (image[:32, 32:] == 255).all()
    assert (image[32:, :32] == 10).all() and (image[32:, 32:] == 20).all()


def test_the_prior_pairs_all_classes_and_changes_with_the_seed():
    np.testing.assert_array_equal(PRIOR.partner[PRIOR.partner], np.arange(24))
    assert (PRIOR.partner != np.arange(24)).all()
    # Zipf: the most frequent of 24 classes is twice as frequent as the second and 24 times as the last.
    order = np.sort(PRIOR.frequency)[::-1]
    np.testing.assert_allclose(order[0] / order[[1, 23]], [2, 24])
    assert order.sum() == pytest.approx(1)
    assert (PRIOR.partner != scenes.Prior.draw(4).partner).any()


@pytest.mark.parametrize("prior", [None, PRIOR])
def test_scenes_hold_two_to_four_different_objects_of_the_pool(prior):
    sample = drawn(900, prior=prior)
    labels = scenes.pool("sft").labels
    for scene in sample:
        assert len(set(scene.objects)) == len(scene.objects)
        assert any(min(row) >= 0 for row in rows(scene))
        assert [labels[c] if c >= 0 else -1 for c in scene.cells] == list(scene.labels)
    sizes = np.bincount([len(s.objects) for s in sample])
    # 300 of each expected; 5 standard deviations of a binomial(900, 1/3) are 71.
    assert sizes[:2].sum() == 0 and len(sizes) == 5 and np.abs(sizes[2:] - 300).max() < 75


def test_full_rows_hold_partners_as_often_as_asked():
    def share(**how):
        full = [row for scene in drawn(900, **how) for row in rows(scene) if min(row) >= 0]
        return np.mean([PRIOR.partner[a] == b for a, b in full])

    assert share(prior=PRIOR, partner_share=1.0) == 1.0
    assert share(prior=PRIOR, partner_share=0.7) == pytest.approx(0.7, abs=0.06)
    assert share() == pytest.approx(1 / 23, abs=0.03)  # any other class is as likely as the partner


def test_frequent_classes_lead_rows_by_the_prior_only():
    top = PRIOR.frequency.argmax()
    lead = [scene.labels[0] for scene in drawn(600, prior=PRIOR) if scene.labels[0] >= 0]
    uniform = [scene.labels[0] for scene in drawn(600) if scene.labels[0] >= 0]
    assert np.mean(np.array(lead) == top) > 0.18  # 1 / (1 + 1/2 + ... + 1/24) = .265, less what repeats cost it
    assert np.mean(np.array(uniform) == top) < 0.1  # 1/24


def test_a_caption_names_every_object_once_and_keeps_rows_together():
    a, b, c, d = (easy_vqa.CLASSES.index(n) for n in ("red circle", "blue triangle", "gray circle", "teal rectangle"))
    scene = scenes.Scene((0, 1, 2, 3), (a, b, c, d))
    rng = np.random.default_rng(0)
    said = {scenes.caption(rng, scene).answer for _ in range(200)}
    top = ("a red circle, a blue triangle", "a blue triangle, a red circle")
    bottom = ("a gray circle, a teal rectangle", "a teal rectangle, a gray circle")
    expected = {f"{x}, {y}" for t in top for u in bottom for x, y in ((t, u), (u, t))}
    assert said == expected


def test_a_question_is_answered_by_what_is_there():
    circle = easy_vqa.CLASSES.index("red circle")
    scene = scenes.Scene((-1, 4, -1, -1), (-1, circle, -1, -1))
    assert scenes.existence(circle, scene) == scenes.Conversation(
        "is there a red circle in the image?", "yes", "existence"
    )
    assert scenes.existence(0, scene).answer == "no"


def test_a_caption_leaves_empty_cells_out():
    circle = easy_vqa.CLASSES.index("red circle")
    scene = scenes.Scene((-1, -1, -1, 0), (-1, -1, -1, circle))
    assert scenes.caption(np.random.default_rng(0), scene).answer == "a red circle"


def test_a_no_question_can_be_about_the_partner_of_what_is_there():
    rng = np.random.default_rng(0)
    a, b = 0, next(c for c in range(1, 24) if PRIOR.partner[0] != c)
    scene = scenes.Scene((0, 1, -1, -1), (a, b, -1, -1))
    partners = {f"is there a {easy_vqa.CLASSES[PRIOR.partner[c]]} in the image?" for c in (a, b)}
    asked = [scenes.ask(rng, scene, yes=False, prior=PRIOR) for _ in range(40)]
    assert {q.prompt for q in asked} == partners and {q.answer for q in asked} == {"no"}
    anything = {scenes.ask(rng, scene, yes=False).prompt for _ in range(600)}
    assert len(anything) == 22  # all absent classes
    assert {scenes.ask(rng, scene, yes=True).answer for _ in range(20)} == {"yes"}


def test_a_scene_of_whole_pairs_has_no_absent_partner_to_ask_for():
    scene = scenes.Scene((0, 1, -1, -1), (0, int(PRIOR.partner[0]), -1, -1))
    question = scenes.ask(np.random.default_rng(0), scene, yes=False, prior=PRIOR)
    assert question.answer == "no"
    assert question.prompt not in {scenes.existence(c, scene).prompt for c in scene.labels[:2]}


def test_single_pictures_use_all_four_cells():
    pool, rng = scenes.pool("evaluation"), np.random.default_rng(0)
    sample = [scenes.draw_single(rng, pool, 7) for _ in range(60)]
    assert {s.cells.index(7) for s in sample} == {0, 1, 2, 3}
    assert all(sorted(s.cells) == [-1, -1, -1, 7] for s in sample)
    assert {s.objects for s in sample} == {(easy_vqa.CLASSES[pool.labels[7]],)}


def test_every_picture_comes_with_all_its_official_questions():
    pool = scenes.pool("evaluation")
    grouped = dict(scenes.official(dataclasses.replace(pool, questions=pool.questions[:30])))
    assert sum(map(len, grouped.values())) == 30
    assert [c.prompt for c in grouped[0]] == [q.text for q in pool.questions[:30] if q.image == 0]
