"""Matrix-product FLOPs of linear cross-entropy; a multiply and an add count separately.

This file needs no torch.
"""


def forward_flops_per_token(width: int, vocab: int) -> int:
    """FLOPs of the loss alone, per token that has a target: the logits."""
    return 2 * width * vocab


def training_flops_per_token(width: int, vocab: int) -> int:
    """FLOPs of the loss and all gradients as ``chunked.py`` computes them: three products."""
    return 3 * forward_flops_per_token(width, vocab)


def triton_training_flops_per_token(width: int, vocab: int, split: int = 1) -> int:
    """FLOPs of the Triton kernels, which compute the logits anew for each of both gradients, and
    for each of `split` parts that a width too large for one program is cut into."""
    return (3 + 2 * split) * forward_flops_per_token(width, vocab)
