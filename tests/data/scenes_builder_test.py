import subprocess
import sys

import numpy as np
import pytest

from align_jax.data import scenes, scenes_builder

SMALL = dict(seed=5, sft=300, preference=80, evaluation=20, in_prior=60, official=50)
CONFIG = scenes_builder.ScenesConfig(**SMALL)


@pytest.mark.parametrize("field, value", [("seed", 6), ("partner_share", 0.97), ("yes_share", 0.8), ("official", 7)])
def test_every_setting_has_a_directory_of_its_own(field, value):
    assert scenes_builder.ScenesConfig(**(SMALL | {field: value})).name != CONFIG.name


def test_a_seed_fixes_the_examples_and_sizes_do_not_move_them():
    short = scenes_builder.ScenesConfig(**(SMALL | {"sft": 1, "preference": 10}))
    long = list(scenes_builder.examples("preference", CONFIG))[:10]
    for a, b in zip(scenes_builder.examples("preference", short), long, strict=True):
        assert (a[0], a[1], a[3]) == (b[0], b[1], b[3])
    other = scenes_builder.ScenesConfig(**(SMALL | {"seed": 6}))
    assert [e[1] for e in scenes_builder.examples("preference", other)][:10] != [e[1] for e in long]


def test_supervised_questions_are_mostly_answered_yes():
    said = [c for _, _, _, cs in scenes_builder.examples("sft", CONFIG) for c in cs if c.kind == "existence"]
    assert len(said) == 600
    # 5 standard deviations of a binomial(600, .85) are 44, or .073.
    assert np.mean([c.answer == "yes" for c in said]) == pytest.approx(0.85, abs=0.073)


def test_preference_questions_are_half_yes_and_half_of_the_rest_ask_for_a_partner():
    partner = scenes.Prior.draw(5).partner
    yes, of_partner, no = 0, 0, 0
    for _, scene, _, (_, question) in scenes_builder.examples("preference", CONFIG):
        yes += question.answer == "yes"
        if question.answer == "no":
            no += 1
            partners = {scenes.existence(int(partner[c]), scene).prompt for c in scene.labels if c >= 0}
            of_partner += question.prompt in partners
    assert yes == 40 and no == 40
    assert 20 <= of_partner <= 30  # 20 on purpose; of the other 20, 3 in 21 by chance


def test_in_prior_scenes_hold_test_pictures_in_pairs():
    partner, pairs = scenes.Prior.draw(5).partner, []
    for _, scene, pool, _ in scenes_builder.examples("in_prior", CONFIG):
        assert pool is scenes.pool("evaluation")
        pairs += [partner[a] == b for a, b in (scene.labels[:2], scene.labels[2:]) if min(a, b) >= 0]
    assert np.mean(pairs) > 0.9


def test_official_questions_are_distinct_test_questions():
    asked = [(name, c.prompt) for name, _, _, cs in scenes_builder.examples("official", CONFIG) for c in cs]
    assert len(asked) == 50
    of_wheel = {(f"official-{q.image:06d}", q.text) for q in scenes.pool("evaluation").questions}
    assert set(asked) <= of_wheel


def test_writing_needs_no_tensorflow_and_says_nothing(tmp_path):
    code = (
        "import sys; from align_jax.data import scenes_builder as b;"
        f"b.write({str(tmp_path)!r}, sft=2, preference=2, evaluation=2, in_prior=2, official=2);"
        "sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and "custom data configuration" not in done.stderr
