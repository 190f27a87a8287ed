"""Everything that a user can do, as one interface.

``service.Service`` does it in this process, ``client.Client`` asks a server to. The command line
takes either; the API's routes call the service, one line each.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from nas.record import Event
from nas.search_spaces.listing import CatalogueEntry
from nas.search_spaces.papers import PaperEntry
from nas.store.base import TrialQuery
from nas.study import Limit
from nas.views import (
    Comparison,
    CostView,
    Deleted,
    ExportView,
    Front,
    Graph,
    Health,
    KernelForm,
    LedgerView,
    ReplayView,
    RepricedView,
    SearchReport,
    SpaceVersionView,
    StudyView,
    TrialPage,
    TrialView,
    Validation,
)


class Verbs(Protocol):
    """One method for each thing that a user can ask for. All raise NasError."""

    def create_study(self, data: Any, *, key: str | None = None) -> StudyView:
        """Starts a study from its data. The same idempotency key returns the same study."""

    def studies(self) -> tuple[StudyView, ...]:
        """All studies, newest first."""

    def study(self, name: str) -> StudyView:
        """One study."""

    def stop_study(self, name: str) -> StudyView:
        """Starts nothing new; what runs is taken up again by `resume_study`."""

    def resume_study(self, name: str) -> StudyView:
        """Goes on where the study stopped."""

    def delete_study(self, name: str) -> Deleted:
        """Removes a study that is not running, with its trials and files."""

    def change_space(self, name: str, data: Any) -> SpaceVersionView:
        """Gives a study that is not running another space, from its data, as a new version."""

    def space_versions(self, name: str) -> tuple[SpaceVersionView, ...]:
        """All versions of a study's space, oldest first."""

    def replay(self, name: str) -> ReplayView:
        """Derives every proposal again from the log alone, and evaluates nothing."""

    def events(self, name: str, *, after: int = -1, follow: bool = False) -> Iterator[Event]:
        """What happened, oldest first; with `follow`, until the study ends."""

    def trials(self, name: str, query: TrialQuery) -> TrialPage:
        """A page of trials."""

    def trial(self, name: str, number: int) -> TrialView:
        """One trial in full."""

    def front(
        self, name: str, *, metrics: Sequence[str] = (), limits: Sequence[Limit] = ()
    ) -> Front:
        """Trials that no other beats; on the study's objectives unless metrics are named."""

    def proxies(self, name: str, *, metric: str | None = None) -> LedgerView:
        """How far each cheap measurement can be trusted, against the study's trained objectives
        unless a trained metric is named."""

    def compare(self, first: str, second: str, *, metrics: Sequence[str] = ()) -> Comparison:
        """Two studies at equal cost, on their common objectives unless metrics are named."""

    def report(self, name: str) -> SearchReport:
        """Who proposed what, and whether the sampler did better than the control arms."""

    def export(
        self,
        name: str,
        *,
        trial: int | None = None,
        prefix: int | None = None,
        kernels: KernelForm | None = None,
        out: Path | None = None,
    ) -> ExportView:
        """Writes a trial (None is the knee of the front) as code and checks it; with `kernels` its
        ops' kernels of that form are a second file."""

    def reprice(self, name: str, data: Any, *, every: bool = False) -> RepricedView:
        """The study's front, or every complete trial, on another target, given as data: measured
        where this runs, and nothing trained."""

    def catalogue(self, slot: str | None = None) -> tuple[CatalogueEntry, ...]:
        """Every part with its schema and papers."""

    def papers(self, *, tier: int | None = None, missing: bool = False) -> tuple[PaperEntry, ...]:
        """Every paper with the parts that carry it and what is missing; one tier, or only papers
        of which something is missing."""

    def presets(self) -> tuple[str, ...]:
        """Names of the ready-made spaces."""

    def space(self, preset: str) -> dict[str, Any]:
        """A ready-made space as data."""

    def validate(self, data: Any) -> Validation:
        """Checks a study, a space or an architecture without starting anything."""

    def cost(self, data: Any, *, context: int, dtype_bytes: int = 4) -> CostView:
        """Price of an architecture, or of a space that leaves nothing to choose."""

    def graph(self, data: Any, *, context: int) -> Graph:
        """Drawing of an architecture, or of a space that leaves nothing to choose."""

    def health(self) -> Health:
        """Whether the service is well."""

    def close(self) -> None:
        """Lets go of the database or the connection."""
