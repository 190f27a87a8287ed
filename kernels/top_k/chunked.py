"""The largest scores of each row in plain torch.

Shapes: E entries of a row, K entries taken; any number of axes before them.
"""

from torch import Tensor


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The K largest of scores [..., E] in descending order, and where they stand: [..., K] twice.

    Of equal scores the one with the lower index comes first.
    """
    # torch.topk leaves open which of several equal scores it takes. With one entry more than asked
    # for, scores that all differ show that there was nothing to choose.
    values, indices = scores.topk(min(k + 1, scores.shape[-1]), dim=-1)
    if not (values[..., :-1] > values[..., 1:]).all():
        values, indices = scores.sort(dim=-1, descending=True, stable=True)
    return values[..., :k], indices[..., :k]
