"""What a model may be: the class of its sizes -> the file that has it.

Such a file has `build(sizes) -> Policy`, `blank(sizes) -> PromptTree`, `param_shapes(sizes)` and `rules(sizes)`. Sizes
have `computing(dtype, remat)`, `idle` (patterns of parameters that nothing reads) and `tied` (whether the head is the
embeddings; None: there is no head).
"""

from types import ModuleType

from align_jax.models import clip, mllm
from align_jax.models.clip import ClipConfig
from align_jax.models.mllm import MLLMConfig

Sizes = MLLMConfig | ClipConfig
KINDS = {MLLMConfig: mllm, ClipConfig: clip}


def of(sizes: Sizes) -> ModuleType:
    """The file of a model of these sizes."""
    return KINDS[type(sizes)]
