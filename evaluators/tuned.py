"""Which measured launch choices of Triton kernels a study runs with."""

from pathlib import Path

from nas.kernels.runtime.tuning import Table, load_table
from nas.study import StudySpec

FOLDER = "tuning"
"""Of the data folder."""


def tuning_of(spec: StudySpec, data_dir: Path) -> Table:
    """What was measured on this machine's GPU for the kernels as they are now.

    Empty where nothing was, where no Triton kernels run, and in a study that composes latencies:
    times of parts outlive studies and are all of the default choices. Nothing is measured here;
    that is done once, by ``python -m nas.kernels.runtime.tuner``. Raises Unavailable where the
    file cannot be read.
    """
    target = spec.target
    if target.impl != "triton" or target.device != "cuda" or spec.composes_latency:
        return Table()
    from nas.kernels.runtime.tuner import device_here

    return load_table(data_dir / FOLDER, device_here())
