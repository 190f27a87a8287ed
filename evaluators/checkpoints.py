"""Where the checkpoints of paused trainings lie: one file for each trial and task, the newest.

Torch-free; ``pausing`` reads and writes them.
"""

from pathlib import Path

FOLDER = "checkpoints"


class Checkpoints:
    """The checkpoints of one study, in ``checkpoints/STUDY`` of the data folder."""

    def __init__(self, data_dir: Path, study: str) -> None:
        self.folder = data_dir / FOLDER / study

    def path(self, number: int, task: str) -> Path:
        """Of a trial on one kind of task."""
        return self.folder / f"{number}-{task}.safetensors"

    def forget(self, number: int) -> None:
        """Deletes all of a trial, also what a worker that was ended left half-written."""
        for path in self.folder.glob(f"{number}-*"):
            path.unlink(missing_ok=True)
