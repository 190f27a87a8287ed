"""A candidate trained the plain way, in a process of its own: what the trainer is compared with.

Reads ``{"spec": ..., "architecture": ...}`` on standard input and writes the scores. The text, the
schedule, the seed and the number of steps are those of the service; the loop is the shortest that
does the same work in float32 with torch's defaults.
"""

import json
import math
import sys
from typing import Any

import torch
import torch.nn.functional as F

from nas.evaluators import schedule
from nas.evaluators.build import initialise
from nas.evaluators.tasks.data import ALL, Tally
from nas.search_spaces.architecture import Architecture
from nas.study import StudySpec


def main() -> None:
    """One candidate."""
    request = json.load(sys.stdin)
    spec = StudySpec.model_validate(request["spec"])
    architecture = Architecture.model_validate(request["architecture"])
    print(json.dumps(plain_train(spec, architecture)))


def plain_train(spec: StudySpec, architecture: Architecture) -> dict[str, float]:
    """Trains on the first task and scores on its held-out data."""
    task = spec.tasks[0]
    data: Any = task.open(spec.seed)
    batching = schedule.batching(spec.trainings[-1].tokens, task.tokens_per_sequence)
    peak = schedule.peak_rate(architecture.dim)
    device = spec.target.device
    model: Any = initialise(architecture, spec.seed).to(device)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        betas=(0.9, 0.95),
    )
    for step in range(batching.steps):
        tokens, targets = (t.to(device) for t in data.train_batch(step, batching.sequences))
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate_at(step, batching.steps, peak)
        loss = model.loss(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if not math.isfinite(loss.item()):
            raise SystemExit("diverged")
    return dict(data.score({ALL: plain_test(model, data, task.tokens_per_sequence)}))


@torch.no_grad()
def plain_test(model: Any, data: Any, context: int) -> Tally:
    """Mean held-out loss in nats and share predicted exactly."""
    model.eval()
    loss, correct, count = 0.0, 0, 0
    device = next(model.parameters()).device
    for batch in data.test_batches(max(1, 8192 // context)):
        tokens, targets = (tensor.to(device) for tensor in batch)
        logits = model(tokens).flatten(0, 1)
        loss += F.cross_entropy(logits, targets.flatten(), reduction="sum").item()
        correct += int((logits.argmax(-1) == targets.flatten()).sum())
        count += targets.numel()
    return Tally(loss / count, correct / count, count)


if __name__ == "__main__":
    main()
