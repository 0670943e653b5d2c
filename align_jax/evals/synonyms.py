"""Objects that a free caption mentions, by a list of synonyms: how CHAIR reads (Rohrbach et al., arXiv:1809.02156).

The rules are those of `utils/chair.py` in github.com/LisaAnne/Hallucination; the list itself, `data/synonyms.txt`
there, is for the user to download. Steps: words in lower case; plurals to singulars; known pairs of words become one
word; "seat" is dropped where there is a "toilet"; what is a synonym counts as its object.

Two steps differ from the official code, which needs `nltk` and Python 2's `pattern`:
  - Words are found by a regular expression instead of `nltk.word_tokenize`, which also parts "cannot" and the like.
  - `pattern.en.singularize` applies suffix rules to every word, also to singulars ("glass" becomes "glas", for which
    the official list of pairs has an entry "wine glas"). Here a word is made singular only if it is a plural, regular
    or from `IRREGULAR`, of a word that the list knows. No known singular is ever changed, so that rule is not needed;
    a plural that neither knows stays as it is; and counts can differ where `pattern` mangles a word or does not know
    its plural.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping

from align_jax.evals.mentions import Mention

ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub")
COCO_PAIRS: Mapping[str, str] = {
    **{
        pair: pair
        for pair in (
            "motor bike,motor cycle,air plane,traffic light,street light,traffic signal,stop light,fire hydrant,"
            "stop sign,parking meter,suit case,sports ball,baseball bat,baseball glove,tennis racket,wine glass,"
            "hot dog,cell phone,mobile phone,teddy bear,hair drier,potted plant,laptop computer,home plate"
        ).split(",")
    },
    # A baby animal is no person, nor is a passenger train.
    **{f"{age} {animal}": animal for age in ("baby", "adult") for animal in ANIMALS},
    **{f"passenger {vehicle}": vehicle for vehicle in ("jet", "train")},
    "bow tie": "tie",
    "toilet seat": "toilet",
}
IRREGULAR = {
    "man": "men", "woman": "women", "child": "children", "person": "persons", "mouse": "mice", "goose": "geese",
    "knife": "knives", "wife": "wives", "loaf": "loaves", "calf": "calves", "ox": "oxen", "foot": "feet",
    "tooth": "teeth", "sheep": "sheep",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Synonyms:
    canonical: Mapping[str, str]  # synonym -> object
    pairs: Mapping[str, str]  # two words -> the word that they count as
    singular: Mapping[str, str]  # plural -> singular, of single words

    @classmethod
    def read(cls, lines: Iterable[str], pairs: Mapping[str, str] = COCO_PAIRS) -> "Synonyms":
        """From lines "object, synonym, synonym", as in the official file.

        Lines are split at ", " exactly, as the official code does: an entry with a further space or a capital letter
        can never match, nor can one of two words that is not in `pairs`, or one of three.

        Args:
          lines: for example an open `synonyms.txt`.
          pairs: those words that count as one where they stand side by side, and as what.
        """
        canonical: dict[str, str] = {}
        for line in lines:
            first, *others = line.strip().split(", ")
            if first:
                canonical.update(dict.fromkeys([first, *others], first))  # a later line wins, as officially
        known = {word for entry in (*canonical, *pairs) for word in entry.split()}
        singular = {plural: word for word in sorted(known) for plural in _plurals(word)}
        return cls(canonical, pairs, {plural: word for plural, word in singular.items() if plural not in known})

    def mentions(self, caption: str) -> list[Mention]:
        """The objects that a caption mentions, in order, with repeats; never malformed ones."""
        words = []  # (start, end, word)
        for match in re.finditer(r"\w+(?:-\w+)*|'\w+|[^\w\s]", caption.lower()):
            words.append((match.start(), match.end(), self.singular.get(match[0], match[0])))
        merged, i = [], 0
        while i < len(words):
            pair = self.pairs.get(" ".join(word for *_, word in words[i : i + 2]))
            if pair is not None:
                merged.append((words[i][0], words[i + 1][1], pair))
            else:
                merged.append(words[i])
            i += 1 if pair is None else 2
        if any(word == "toilet" for *_, word in merged):
            merged = [found for found in merged if found[2] != "seat"]  # a toilet's seat is no chair
        return [Mention(start, end, self.canonical[word]) for start, end, word in merged if word in self.canonical]

    def truth(self, labels: Iterable[str], references: Iterable[str]) -> set[str]:
        """The objects of an image: those of its annotated categories, and those that its reference captions mention.

        Args:
          labels: category names, each one a synonym.
          references: for COCO, the five captions written by people. Leaving them out makes CHAIR higher.
        """
        said = (mention.object for caption in references for mention in self.mentions(caption))
        return {self.canonical[label] for label in labels}.union(said)


def _plurals(word: str) -> set[str]:
    if word in IRREGULAR:
        return {IRREGULAR[word]}
    if stem := next((s for s in ("man", "child") if word.endswith(s)), ""):  # policeman, grandchild; but humans
        return {word.removesuffix(stem) + IRREGULAR[stem], word + "s"}
    if re.search(r"[^aeiou]y$", word):
        return {word[:-1] + "ies"}
    if re.search(r"(s|x|z|ch|sh)$", word):
        return {word + "es"}
    if word.endswith("o"):
        return {word + "s", word + "es"}
    return {word + "s", word[:-1] + "ves"} if word.endswith("f") else {word + "s"}
