"""Checks on shapes that all ops share. This file needs no torch."""

from collections.abc import Sequence


def check_shape(
    op: str,
    name: str,
    shape: Sequence[int],
    legend: str,
    wanted: Sequence[int],
    *,
    broadcast: bool = False,
) -> None:
    """Hold a shape against the wanted one; ``legend`` names its axes in the message.

    With ``broadcast`` an axis of length 1 passes for any length.

    Raises:
        ValueError: the shapes differ.
    """
    fits = len(shape) == len(wanted) and all(
        size == want or (broadcast and size == 1) for size, want in zip(shape, wanted, strict=True)
    )
    if not fits:
        either = ", each axis also 1," if broadcast else ""
        raise ValueError(
            f"{op}: {name} must be {legend} = {list(wanted)}{either} but is {list(shape)}"
        )


def check_attention(
    op: str, q: Sequence[int], k: Sequence[int], v: Sequence[int], state: Sequence[int] | None
) -> None:
    """Hold together the shapes of q, k [B, H, T, K], v [B, H, T, V] and state [B, H, K, V].

    Raises:
        ValueError: a shape does not fit, or there is not one step of time.
    """
    if len(q) != 4 or q[2] < 1:
        raise ValueError(f"{op}: q must be [B, H, T, K] with T >= 1 but is {list(q)}")
    if len(v) != 4:
        raise ValueError(f"{op}: v must be [B, H, T, V] but is {list(v)}")
    check_shape(op, "k", k, "[B, H, T, K]", q)
    check_shape(op, "v", v, "[B, H, T, V]", (*q[:3], v[3]))
    if state is not None:
        check_shape(op, "state", state, "[B, H, K, V]", (*q[:2], q[3], v[3]))
