"""Files that a command is told to write."""

from collections.abc import Sequence
from pathlib import Path

from nas.errors import BadInput


def check_file(option: str, path: Path | None, suffixes: Sequence[str]) -> None:
    """Raises BadInput for a file that could not be written, before anything is done."""
    if path is None:
        return
    if path.suffix not in suffixes:
        raise BadInput.at(
            option, "no such form", given=str(path), accepted=f"a file {' or '.join(suffixes)}"
        )
    if not path.parent.is_dir():
        raise BadInput.at(
            option, "there is no such folder", given=str(path.parent), accepted="one that exists"
        )
