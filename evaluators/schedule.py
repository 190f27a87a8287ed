"""How much of a budget goes into each step, and how fast to learn: rules, not settings.

Every candidate of a study is trained by the same rules, so they compare. The numbers were tuned on
byte-level text at widths 64 to 256, depths 2 to 6 and a budget of 200,000 tokens, where many small
steps beat fewer large ones.
"""

import math
from dataclasses import dataclass

REFERENCE_TOKENS = 200_000
MIN_BATCH_TOKENS, MAX_BATCH_TOKENS = 512, 16_384
WARM_UP_SHARE = 0.05
FLOOR = 0.1
"""The learning rate ends at this share of its peak."""
REFERENCE_DIM, REFERENCE_RATE = 64, 3e-3
RATE_RULE = f"{REFERENCE_RATE:g} * min(1, {REFERENCE_DIM} / dim)"
SCHEDULE_RULE = f"linear warm-up over {WARM_UP_SHARE:.0%} of the steps, cosine to {FLOOR:.0%}"


@dataclass(frozen=True, slots=True)
class Batching:
    """A budget of tokens cut into steps."""

    steps: int
    sequences: int
    """In each step."""


def batching(tokens: int, context: int) -> Batching:
    """512 tokens in a step up to a budget of 200,000; beyond it, steps grow with the square root of
    the budget, up to 16384 tokens, and so does their number. The tokens trained on are the budget
    rounded to whole steps, and at least one step."""
    growth = math.sqrt(max(1.0, tokens / REFERENCE_TOKENS))
    batch_tokens = min(MAX_BATCH_TOKENS, int(MIN_BATCH_TOKENS * growth))
    sequences = max(1, batch_tokens // context)
    return Batching(max(1, round(tokens / (sequences * context))), sequences)


def steps_for(tokens: int, whole: Batching, context: int) -> int:
    """Steps of a training after which `tokens` of its budget are spent: rounded, and at least one.
    The training's own budget gives all of its steps."""
    return min(whole.steps, max(1, round(tokens / (whole.sequences * context))))


def peak_rate(dim: int) -> float:
    """Learning rate of AdamW for a width: falls as it grows, as in muP (arXiv 2203.03466)."""
    return REFERENCE_RATE * min(1.0, REFERENCE_DIM / dim)


def rate_at(step: int, steps: int, peak: float) -> float:
    """Learning rate of a step, 0..steps-1: linear warm-up, then a cosine from peak to a tenth."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - 1 - warm_up)
    return peak * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress)))
