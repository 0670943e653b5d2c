"""What is measured of a method, and how its numbers are shown: the columns of a leaderboard."""

from typing import Literal, NamedTuple

RANKED_BY = "chair_i"


class Metric(NamedTuple):
    name: str
    explanation: str
    better: Literal["lower", "higher"] | None
    scale: float = 100  # fractions are shown in percent
    digits: int = 1
    column: bool = True  # or in the JSON file only

    def show(self, value: float | None, sign: str = "") -> str:
        return "undefined" if value is None else f"{self.scale * value:{sign}.{self.digits}f}".replace("-", "−")


METRICS = {
    "chair_i": Metric("CHAIR_i", "Share of the mentioned objects that are not in the picture, in percent. A mention "
                      "that names no colour or no shape counts as hallucinated. Undefined if nothing is mentioned.",
                      "lower"),
    "chair_s": Metric("CHAIR_s", "Share of the captions with at least one such mention, in percent.", "lower"),
    "recall": Metric("recall", "Share of the objects in the picture that are mentioned, in percent. Whoever says less "
                     "hallucinates less: CHAIR is worth what recall does not pay for it.", "higher"),
    "exact": Metric("exact", "Captions that name all objects and nothing else, in percent.", "higher"),
    "f1": Metric("F1", "Of mentioned and present objects: what settings are chosen by.", "higher", column=False),
    "pope_accuracy": Metric("POPE", "Accuracy of yes/no questions about objects, in percent; mean of three splits.",
                            "higher"),
    "official_accuracy": Metric("easy-VQA", "Accuracy of the official easy-VQA test questions, in percent, which no "
                                "pair is about: what alignment costs elsewhere.", "higher"),
    "words": Metric("words", "Words per caption.", None, 1),
    "kl": Metric("KL", "Divergence of the model from the reference, in nats per sampled caption: how far it moved.",
                 None, 1, 2),
    "chosen": Metric("chosen", "By how many nats the log-probability of the chosen answers moved. Below 0, they too "
                     "became less likely (displacement).", None, 1, 2),
    "rejected": Metric("rejected", "The same of the rejected answers.", None, 1, 2, column=False),
    "seconds": Metric("CPU s", "CPU seconds of training, over all cores and with compilation.", None, 1, 0),
}  # fmt: skip
COLUMNS = {key: metric for key, metric in METRICS.items() if metric.column}
