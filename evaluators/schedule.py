"""How much of a budget goes into each step, and how fast to learn: rules, not settings.

Every candidate of a study is trained by the same rules, so they compare. The numbers were tuned on
byte-level text at widths 64 to 256 and budgets of 200,000 to 1,000,000 tokens.
"""

import math
from dataclasses import dataclass

WANTED_STEPS = 400
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
    """About 400 steps, but no fewer than 512 and no more than 16384 tokens in each; the tokens
    trained on are the budget rounded to whole steps, and at least one step."""
    batch_tokens = min(MAX_BATCH_TOKENS, max(MIN_BATCH_TOKENS, tokens // WANTED_STEPS))
    sequences = max(1, batch_tokens // context)
    return Batching(max(1, round(tokens / (sequences * context))), sequences)


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
