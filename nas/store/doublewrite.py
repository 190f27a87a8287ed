"""A copy of the blocks that a checkpoint overwrites in place, kept until the checkpoint is done.

DuckDB writes data to free places of its file and then switches to it with one page, the header.
But several generations of metadata share a block of 256 KiB, and each checkpoint writes that block
anew, where it is, with one checksum over all of it. A kill, or a power cut, in the middle of that
write leaves a block that fits neither checksum, and DuckDB refuses the file, although the metadata
that its header names is intact. So the blocks are first written beside the file, as InnoDB does
with its doublewrite buffer, and at the next opening they are put back if the header was not
switched; what was committed since the checkpoint before is still in the write-ahead log then. No
database here.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

HEADERS = 3 * 4096
"""Bytes before the first block: one page says what the file is, two take turns to say where the
metadata of the last checkpoint begins. They differ between any two checkpoints."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the file held before a checkpoint: its headers, and blocks by their place in bytes."""

    headers: bytes
    blocks: dict[int, bytes]


def place(database: Path) -> Path:
    """Where the copy is: there only while a checkpoint runs, or after one that was cut short."""
    return database.with_name(database.name + ".doublewrite")


def keep(database: Path, blocks: Sequence[int], size: int) -> None:
    """Copies the `blocks`, by number, of `size` bytes each; they are on disk when it returns.

    The database is open in this process, and nothing else writes to it. Raises OSError.
    """
    descriptor = next(_descriptors(database), None)
    if descriptor is None:
        raise FileNotFoundError(f"{database} was moved or deleted while it was open")
    places = [HEADERS + number * size for number in blocks]
    found = {at: os.pread(descriptor, size, at) for at in places}
    # A block past the end was never written, so nothing can be lost of it.
    whole = {at: block for at, block in found.items() if len(block) == size}
    _write(place(database), Kept(os.pread(descriptor, HEADERS, 0), whole))


def drop(database: Path) -> None:
    """After a checkpoint that was completed."""
    place(database).unlink(missing_ok=True)


def restore(database: Path) -> None:
    """Puts the blocks back if the checkpoint they were kept for did not come to its end.

    Does nothing where the database is open, in this process or another. Raises OSError.
    """
    copy = place(database)
    # Closing a descriptor of a file that this process has open would release DuckDB's lock on it.
    if not copy.exists() or not database.exists() or any(_descriptors(database)):
        return
    with database.open("r+b") as file, _locked(file) as locked:
        kept = _read(copy) if locked else None
        if kept is None:
            return
        if file.read(HEADERS) == kept.headers:
            for at, block in kept.blocks.items():
                file.seek(at)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        copy.unlink()


def _descriptors(database: Path) -> Iterator[int]:
    """Those under which this process has the file open."""
    wanted = database.stat()
    for name in os.listdir("/dev/fd"):
        try:
            same = os.path.samestat(os.fstat(int(name)), wanted)
        except OSError:  # the one that listed them is closed by now
            continue
        if same:
            yield int(name)


@contextmanager
def _locked(file: BinaryIO) -> Iterator[bool]:
    """With the lock that DuckDB takes, until the file is closed, or False where it is taken."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True


def _write(copy: Path, kept: Kept) -> None:
    """Whole from the moment in which it has its name."""
    body = b"".join((kept.headers, *kept.blocks.values()))
    places = {at: len(block) for at, block in kept.blocks.items()}
    head = json.dumps({"places": list(places.items()), "sha256": _digest(body)})
    draft = copy.with_name(copy.name + ".new")
    with draft.open("wb") as file:
        file.write(head.encode() + b"\n" + body)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(copy)
    folder = os.open(copy.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(copy: Path) -> Kept | None:
    """None where there is no copy any more, or it is not as it was written."""
    try:
        head, body = copy.read_bytes().split(b"\n", 1)
        said = json.loads(head)
    except (FileNotFoundError, ValueError):
        return None
    if said["sha256"] != _digest(body):
        return None
    blocks, start = {}, HEADERS
    for at, size in said["places"]:
        blocks[at] = body[start : start + size]
        start += size
    return Kept(body[:HEADERS], blocks)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
