"""Methods that experiments/compare.py sets side by side.

All start from one SFT model, read the same pairs in the same order, and take as many steps with the same optimizer.
For each, learning rate and strength are tuned over the same grid, on a model, scenes and pairs of a seed that is not
reported. The strengths below are where the grid begins, mostly .1 as in DPO, so that methods that share its scale meet
on equal terms; papers have other ones for some (sppo .001, chip .5). Those of dense_dpo and fdpo are their own.
"""

from ml_collections import ConfigDict

from configs import common

RANDOM_CROP = dict(corrupted=dict(name="corrupt:random_crop", scale=(0.01, 0.2)))
NOISE = dict(corrupted=dict(name="corrupt:diffusion", step=500))
BLANK = dict(corrupted=dict(name="corrupt:blank"))


def method(*terms: dict, views: dict | None = None, strength: str = "beta") -> dict:
    """A method: terms of its objective, views of the data, and the hyper-parameter of the first term that is tuned."""
    return dict(loss=terms, views=views or {}, strength=strength)


def get_config():
    config = ConfigDict()
    config.train = common.base()  # the budget: steps, rows, optimizer
    config.train.steps = 110  # one pass over the pairs
    config.grid = ConfigDict({"learning_rate": (1e-4, 4e-4), "strength": (1.0, 5.0)})  # times that of the method
    nll = dict(name="chosen_nll")
    config.methods = ConfigDict(
        {
            "sft_on_chosen": method(nll, strength=""),
            "dpo": method(dict(name="dpo", beta=0.1)),
            "dpo+nll": method(dict(name="dpo", beta=0.1), dict(nll, weight=0.5)),
            "ipo": method(dict(name="ipo", beta=0.1)),
            "sppo": method(dict(name="sppo", beta=0.1)),
            "apo_zero": method(dict(name="apo_zero", beta=0.1)),
            "f_dpo_js": method(dict(name="f_dpo", beta=0.1, divergence="js")),
            "wpo": method(dict(name="wpo", beta=0.1)),
            "kto": method(dict(name="kto", beta=0.1)),
            "bco": method(dict(name="bco", beta=0.1)),
            "orpo": method(dict(name="orpo", lambda_=0.1), strength="lambda_"),
            "simpo": method(dict(name="simpo", beta=2.0)),
            "cpo": method(dict(name="cpo", beta=0.1)),
            "beta_dpo": method(dict(name="beta_dpo", beta=0.1)),
            "mm_dpo": method(dict(name="mm_dpo", beta=0.1), dict(nll, weight=0.25)),
            "mpo": method(
                dict(name="dpo", beta=0.1, weight=0.8), dict(name="bco", beta=0.1, weight=0.2), dict(nll, weight=1.0)
            ),
            "dense_dpo": method(dict(name="dense_dpo", beta=0.5, gamma=5.0)),
            "mdpo": method(dict(name="mdpo", beta=0.1), views=RANDOM_CROP),
            "chip": method(dict(name="chip", beta=0.1), views=NOISE),
            "v_dpo": method(dict(name="v_dpo", beta=0.1), views=BLANK),
            "povid": method(dict(name="povid", beta=0.1), views=NOISE),
            "amp": method(dict(name="amp", beta=0.1)),
            "fdpo": method(dict(name="fdpo", beta=0.5)),
        }
    )
    return config
