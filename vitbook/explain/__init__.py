"""Chapter 6: what did the model look at?

``recorder`` reads attention weights, (layer, batch, head, query, key): the row looks, the
column is looked at. ``maps`` and ``flow`` take those weights; ``gradients`` takes model,
images and target; ``interventions`` change one thing inside a model; ``learned`` needs no
picture.
"""

from vitbook.explain.flow import attention_flow, discard_weakest, rollout
from vitbook.explain.gradients import (
    gradient_attention,
    input_gradient,
    relevance,
    relevance_of,
)
from vitbook.explain.interventions import (
    cut_looks,
    logit_lens,
    silence_head,
    streams,
    swap_tokens,
)
from vitbook.explain.learned import patch_filters, position_similarity
from vitbook.explain.maps import (
    class_token_map,
    mass_threshold,
    mean_attention_distance,
    mean_query_map,
    normalised_entropy,
    patch_distances,
    token_norms,
)
from vitbook.explain.methods import every_map
from vitbook.explain.recorder import Recording, record_attention

__all__ = [
    "Recording",
    "attention_flow",
    "class_token_map",
    "cut_looks",
    "discard_weakest",
    "every_map",
    "gradient_attention",
    "input_gradient",
    "logit_lens",
    "mass_threshold",
    "mean_attention_distance",
    "mean_query_map",
    "normalised_entropy",
    "patch_distances",
    "patch_filters",
    "position_similarity",
    "record_attention",
    "relevance",
    "relevance_of",
    "rollout",
    "silence_head",
    "streams",
    "swap_tokens",
    "token_norms",
]
