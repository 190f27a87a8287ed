"""The certificate: what was compared, how, and with which result."""

from datetime import datetime

from nas.search_spaces.base import Model

FORMAT = "nas-export-1"


class Check(Model):
    """One thing that has to hold."""

    name: str
    holds: bool
    detail: str
    """What was compared, and by how much it differs where it does."""


class Decoding(Model):
    """Stepwise decoding against the parallel forward, in float64, on logits."""

    error: float
    """Largest absolute difference."""
    tolerance: float
    scale: float
    """Largest absolute logit."""
    condition: float
    """How far the logits move for a relative change of all weights, per unit of that change."""
    rule: str
    """How the tolerance follows from the rest."""


class Certificate(Model):
    """Of one exported file. Bitwise checks are for CPU, float32 and the same number of threads."""

    format: str = FORMAT
    architecture: str
    """Its id."""
    date: datetime
    seed: int
    threads: int
    torch: str
    python: str
    platform: str
    batch: int
    tokens: int
    """Sequences and tokens of the input that was compared."""
    files: dict[str, str]
    """SHA-256 of every file beside this one."""
    parameters: int
    checks: tuple[Check, ...]
    digests: dict[str, str]
    """SHA-256 over names, dtypes, shapes and bytes of each group of tensors."""
    decoding: Decoding | None
    """None for a model that does not decode."""
    printed: str
    """What ``python model.py`` prints."""
    seconds: dict[str, float]
    """How long the models of each side took to build and to run, without the start of Python."""
