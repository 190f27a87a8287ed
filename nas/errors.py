"""Every error that the service raises on purpose, drawn as a tree.

NasError
├── BadInput        a request that cannot be understood; carries one Problem per field
├── Infeasible      an architecture or space that cannot exist, or that breaks a limit
├── NotFound        a study, trial or part that does not exist
├── Conflict        a name already taken, or an action that the study's state does not allow
├── StoreError      the database cannot be opened or is not one
├── ExportRefused   an export that failed its own check
├── Unavailable     a device, file or server that is not there
└── Unauthorised    a request without the server's token

A message says what is wrong, which value was given, and what would work. HTTP status codes are
decided once, in ``api/errors.py``; a user never sees a traceback for any of these.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one field."""

    path: str
    """Dotted path of the field in what the user sent, for example ``space.mixer.heads``."""
    message: str
    given: Any = None
    accepted: str | None = None
    """What would work, in words."""

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        if self.given is not None:
            text += f" (given: {self.given!r})"
        if self.accepted:
            text += f"; accepted: {self.accepted}"
        return text


class NasError(Exception):
    """Base of all errors meant for a user."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, problems: Iterable[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)

    def as_dict(self) -> dict[str, Any]:
        """The one error shape, used by the API and by ``--json`` on the command line."""
        return {
            "code": self.code,
            "message": self.message,
            "problems": [asdict(problem) for problem in self.problems],
        }


class BadInput(NasError):
    """A request that cannot be understood."""

    code = "bad_input"

    @classmethod
    def at(
        cls, path: str, message: str, *, given: Any = None, accepted: str | None = None
    ) -> "BadInput":
        """An error about a single field."""
        problem = Problem(path, message, given, accepted)
        return cls(str(problem), (problem,))


class Infeasible(NasError):
    """An architecture or space that cannot exist, or that breaks a limit."""

    code = "infeasible"


class NotFound(NasError):
    """A study, trial or part that does not exist."""

    code = "not_found"


class Conflict(NasError):
    """A name already taken, or an action that the state of a study does not allow."""

    code = "conflict"


class StoreError(NasError):
    """The database cannot be opened, is held by another process, or is no database."""

    code = "store"


class ExportRefused(NasError):
    """An export that failed its own check; nothing is left behind."""

    code = "export_refused"


class Unavailable(NasError):
    """A device, file or server that is not there."""

    code = "unavailable"


class Unauthorised(NasError):
    """A request without the server's token."""

    code = "unauthorised"
