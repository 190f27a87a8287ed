"""Why a database file cannot be opened, and what would work. No database here."""

import json
import re
from pathlib import Path

import psutil

from nas.errors import StoreError


def check_place(path: Path) -> None:
    """Make the folder that the file goes into. Raises StoreError where no file can be."""
    if path.is_dir():
        raise StoreError(
            f"{path} is a folder, not a database file; give a file in it, such as "
            f"{path / 'nas.duckdb'}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder of {path} cannot be made ({error.strerror}: {error.filename}); give a "
            "file in a folder that you may write to"
        ) from error
    log = wal(path)
    if log.exists() and not path.exists():
        raise StoreError(
            f"{log} is the write-ahead log of a database that is not there; put {path.name} back "
            "beside it, or move the log away to start anew"
        )


def wal(path: Path) -> Path:
    """DuckDB's write-ahead log: what was committed since the last checkpoint."""
    return path.with_name(path.name + ".wal")


def log_bytes(path: Path) -> int:
    """Of the write-ahead log; 0 where nothing was committed since the last checkpoint."""
    try:
        return wal(path).stat().st_size
    except FileNotFoundError:
        return 0


def explain(path: Path, message: str) -> StoreError:
    """What DuckDB said when it could not open the file, in terms of what to do."""
    if " lock " in message:
        return _held(path, message)
    if "Corrupt database file" in message:
        return StoreError(
            f"{path} is damaged ({first_line(message)}); nothing was changed: keep it, and its "
            f"log {wal(path).name} if there is one, restore both from a copy, or move both away to "
            "start anew"
        )
    if "Could not read enough bytes" in message:
        return StoreError(
            f"{path} is cut short: it was not copied whole, or its disk was full; restore it from "
            "a copy, or give another file"
        )
    if "Permission denied" in message or "Read-only file system" in message:
        return StoreError(
            f"{path} cannot be written ({first_line(message)}); give a file in a folder that you "
            "may write to"
        )
    # While this process has the file open, reading it by hand would release its lock.
    if "different configuration" in message:
        return StoreError(
            f"{path} is open in this process already, by a connection that is not ours"
        )
    return _foreign(path) or StoreError(f"{path} cannot be opened: {first_line(message)}")


def _foreign(path: Path) -> StoreError | None:
    """Set for a file that DuckDB never wrote."""
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return None
    if not start:
        return StoreError(f"{path} is empty, not a DuckDB file; delete it, or give another file")
    if start[8:] != b"DUCK":
        return StoreError(
            f"{path} is not a DuckDB file; give another file, or a new name to start a database"
        )
    return None


def _held(path: Path, message: str) -> StoreError:
    holder = re.search(r"\(PID (\d+)\)", message)
    by = f"process {holder.group(1)}" if holder else "another process"
    url = server(path)
    if url:
        return StoreError(f"{path} is held by a running server ({by}); add --server {url}")
    return StoreError(
        f"{path} is held by {by}, and only one process at a time can open it; stop that one, "
        "ask it through its server with --server URL, or give another file"
    )


def server(path: Path) -> str | None:
    """The address of the live server that holds the file, if it left a note of it in
    ``<file>.server.json``."""
    try:
        note = json.loads(path.with_name(path.name + ".server.json").read_text())
        return str(note["url"]) if psutil.pid_exists(int(note["pid"])) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def first_line(message: str) -> str:
    """Of what DuckDB said; the rest points into its own code."""
    return message.splitlines()[0] if message else "no reason was given"
