"""Launch choices of Triton kernels that were measured on a device: block sizes, warps, stages.

An op that can be tuned says in its ``tuning.py`` which choices there are (``CANDIDATES``) and for
which calls one measurement holds (``key_of``); its Triton form takes ``choices`` by name and has
defaults for all. Choices are kept in a file for each device and version of the kernels, and put in
force as an implementation is (``impl.py``). Without a file the defaults hold. This file needs
neither torch nor triton.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeAlias

from nas.errors import Unavailable

Choice: TypeAlias = tuple[int, ...]
"""Of one launch; the op's ``tuning.py`` says what the numbers are."""
Choices: TypeAlias = Mapping[str, Choice]
"""Of the launches of one op, by name; what is left out keeps its default."""

FORMAT = "nas-tuning-1"
NOT_TUNED = "not tuned"
KERNELS = Path(__file__).absolute().parents[1]


@dataclass(frozen=True)
class Device:
    """What a choice depends on besides the call."""

    name: str
    """For example ``NVIDIA H100 80GB HBM3``."""
    capability: str
    """For example ``9.0``."""
    triton: str
    """Its version."""
    source: str
    """Digest of the kernels and candidates; see `source_digest`."""

    @property
    def file_name(self) -> str:
        """Differs as soon as one of them does, so that an outdated file is never read."""
        text = json.dumps(asdict(self), sort_keys=True)
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
        return f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"


@dataclass(frozen=True)
class Table:
    """Choices by op and by the key of a call."""

    choices: Mapping[str, Mapping[str, Choices]] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """What a record names: 12 hex digits of a digest, or ``not tuned``."""
        if not self.choices:
            return NOT_TUNED
        return hashlib.sha256(_text(self.choices).encode()).hexdigest()[:12]

    def found(self, op: str, key: str) -> Choices:
        """Choices for a call; empty where none were measured."""
        return self.choices.get(op, {}).get(key, {})

    def with_choices(self, op: str, key: str, choices: Choices) -> "Table":
        """The same table with the choices for one key of one op replaced."""
        return Table({**self.choices, op: {**self.choices.get(op, {}), key: choices}})


_current: ContextVar[Table | None] = ContextVar("kernels_tuning", default=None)


def current_table() -> Table:
    """The table in force; an empty one by default, and in a new thread."""
    return _current.get() or Table()


@contextmanager
def use_tuning(table: Table) -> Iterator[None]:
    """Put a table in force for the body; nests, and is undone on an exception too."""
    token = _current.set(table)
    try:
        yield
    finally:
        _current.reset(token)


def load_table(folder: Path, device: Device) -> Table:
    """What was measured on a device with these kernels; empty where nothing was.

    Raises Unavailable where the file cannot be read.
    """
    path = folder / device.file_name
    if not path.exists():
        return Table()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT or found["device"] != asdict(device):
            raise ValueError("it is not a table of this device")
        return Table(
            {
                op: {
                    key: {name: tuple(c) for name, c in each.items()} for key, each in keys.items()
                }
                for op, keys in found["choices"].items()
            }
        )
    except (ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        raise Unavailable(
            f"tuning: {path} cannot be read ({error}); delete it to run with the default choices, "
            "or tune again"
        ) from None


def save_table(folder: Path, device: Device, table: Table) -> Path:
    """Writes a table in one step; returns its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / device.file_name
    content = {"format": FORMAT, "device": asdict(device), "version": table.version}
    content["choices"] = json.loads(_text(table.choices))
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def source_digest(kernels: Path = KERNELS) -> str:
    """Of the text of all Triton forms and candidates."""
    found = hashlib.sha256()
    paths: Sequence[Path] = sorted([*kernels.glob("*/triton*.py"), *kernels.glob("*/tuning.py")])
    for path in paths:
        if not path.stem.endswith("checks"):
            found.update(f"{path.relative_to(kernels)}\n".encode() + path.read_bytes())
    return found.hexdigest()[:12]


def _text(choices: Mapping[str, Mapping[str, Choices]]) -> str:
    return json.dumps(choices, sort_keys=True)
