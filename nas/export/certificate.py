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


class KernelCall(Model):
    """A distinct call of an op, as the model makes it, run by the op's Triton kernels."""

    call: str
    """The op with the shapes of its arguments."""
    times: int
    """How often the model makes it."""
    results: int
    """Results and gradients that were compared."""
    error: float
    """Of the result that uses up most of its budget: largest difference from the definition in
    float64, relative to the largest value."""
    budget: float


class WholeModel(Model):
    """The whole model by its kernels against the same file in plain torch, both in float64."""

    name: str
    error: float
    """Largest absolute difference."""
    tolerance: float
    scale: float
    """Largest absolute value."""


class Kernels(Model):
    """Of ``model_triton.py``."""

    ran: str
    """On a GPU, or in Triton's interpreter on the CPU, which says that the kernels compute the
    right thing and not that a GPU can run them."""
    device: str
    """Name of the GPU; cpu where there was none."""
    triton: str
    tokens: int
    """Of the sequences that the ops saw."""
    ops: tuple[str, ...]
    """What the file holds."""
    without: tuple[str, ...]
    """Ops of the model that have no Triton form and stay in plain torch."""
    calls: tuple[KernelCall, ...]
    rule: str
    """How the budgets follow."""
    whole: tuple[WholeModel, ...] = ()
    """Empty where the whole model was not run: in the interpreter that takes too long."""
    whole_rule: str | None = None
    seconds: float


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
    kernels: Kernels | None = None
    """Of the second file, where the export carries one."""
    printed: str
    """What ``python model.py`` prints."""
    seconds: dict[str, float]
    """How long the models of each side took to build and to run, without the start of Python."""
