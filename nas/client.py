"""The verbs, asked of a running server."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter

from nas import errors
from nas.errors import NasError, Problem, Unavailable
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

M = TypeVar("M", bound=BaseModel)


class Client:
    """Speaks to one server; every method raises the same errors as the service would."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_seconds: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout_seconds, transport=transport
        )

    def create_study(self, data: Any, *, key: str | None = None) -> StudyView:
        """Starts a study. The same idempotency key returns the same study."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._call(StudyView, "POST", "/studies", json=data, headers=headers)

    def studies(self) -> tuple[StudyView, ...]:
        """All studies, newest first."""
        return self._list(StudyView, "/studies")

    def study(self, name: str) -> StudyView:
        """One study."""
        return self._call(StudyView, "GET", f"/studies/{name}")

    def stop_study(self, name: str) -> StudyView:
        """Starts nothing new; what runs is taken up again by `resume_study`."""
        return self._call(StudyView, "POST", f"/studies/{name}/stop")

    def resume_study(self, name: str) -> StudyView:
        """Goes on where the study stopped."""
        return self._call(StudyView, "POST", f"/studies/{name}/resume")

    def delete_study(self, name: str) -> Deleted:
        """Removes a study that is not running."""
        return self._call(Deleted, "DELETE", f"/studies/{name}")

    def change_space(self, name: str, data: Any) -> SpaceVersionView:
        """Gives a study that is not running another space, as a new version."""
        path = f"/studies/{name}/space"
        return self._call(SpaceVersionView, "PUT", path, json=data, timeout=600.0)

    def space_versions(self, name: str) -> tuple[SpaceVersionView, ...]:
        """All versions of a study's space, oldest first."""
        return self._list(SpaceVersionView, f"/studies/{name}/space/versions")

    def replay(self, name: str) -> ReplayView:
        """Derives every proposal again from the log alone."""
        return self._call(ReplayView, "POST", f"/studies/{name}/replay", timeout=600.0)

    def events(self, name: str, *, after: int = -1, follow: bool = False) -> Iterator[Event]:
        """What happened, oldest first; with `follow`, until the study ends."""
        params = {"after": after, "follow": follow}
        path = f"/studies/{name}/events"
        with (
            self._connected(),
            self._http.stream(
                "GET", path, params=params, timeout=httpx.Timeout(30.0, read=None)
            ) as response,
        ):
            if response.is_error:
                response.read()
                raise _error_of(response)
            for line in response.iter_lines():
                if line.startswith("data: "):
                    yield Event.model_validate_json(line.removeprefix("data: "))

    def trials(self, name: str, query: TrialQuery) -> TrialPage:
        """A page of trials."""
        params: dict[str, Any] = {
            "state": list(query.states),
            "limit": [limit_text(*limit) for limit in query.limits],
            "sort": query.sort,
            "descending": query.descending,
            "offset": query.offset,
        }
        if query.count is not None:
            params["count"] = query.count
        return self._call(TrialPage, "GET", f"/studies/{name}/trials", params=params)

    def trial(self, name: str, number: int) -> TrialView:
        """One trial in full."""
        return self._call(TrialView, "GET", f"/studies/{name}/trials/{number}")

    def front(
        self, name: str, *, metrics: Sequence[str] = (), limits: Sequence[Limit] = ()
    ) -> Front:
        """Trials that no other beats."""
        params = {
            "metric": list(metrics),
            "limit": [limit_text(limit.metric, limit.min, limit.max) for limit in limits],
        }
        return self._call(Front, "GET", f"/studies/{name}/front", params=params)

    def proxies(self, name: str, *, metric: str | None = None) -> LedgerView:
        """How far each cheap measurement can be trusted."""
        params = {} if metric is None else {"metric": metric}
        return self._call(LedgerView, "GET", f"/studies/{name}/proxies", params=params)

    def compare(self, first: str, second: str, *, metrics: Sequence[str] = ()) -> Comparison:
        """Two studies at equal cost."""
        path, params = f"/studies/{first}/comparisons/{second}", {"metric": list(metrics)}
        return self._call(Comparison, "GET", path, params=params)

    def report(self, name: str) -> SearchReport:
        """Who proposed what, and whether the sampler did better than the control arms."""
        return self._call(SearchReport, "GET", f"/studies/{name}/report")

    def export(
        self,
        name: str,
        *,
        trial: int | None = None,
        prefix: int | None = None,
        kernels: KernelForm | None = None,
        out: Path | None = None,
    ) -> ExportView:
        """Has the server write and check an export; with `out`, brings the files here."""
        body = {"trial": trial, "prefix": prefix, "kernels": kernels}
        seconds = 600.0 if kernels is None else None  # kernels may be interpreted, for long
        path = f"/studies/{name}/exports"
        done = self._call(ExportView, "POST", path, json=body, timeout=seconds)
        if out is None:
            return done
        self._download(done, out)
        return done.model_copy(update={"folder": str(out)})

    def reprice(self, name: str, data: Any, *, every: bool = False) -> RepricedView:
        """The study on another target, measured on the server's machine."""
        path, body = f"/studies/{name}/repricings", {"target": data, "every": every}
        return self._call(RepricedView, "POST", path, json=body, timeout=None)

    def catalogue(self, slot: str | None = None) -> tuple[CatalogueEntry, ...]:
        """Every part with its schema and papers."""
        return self._list(CatalogueEntry, "/catalogue", params={"slot": slot} if slot else {})

    def papers(self, *, tier: int | None = None, missing: bool = False) -> tuple[PaperEntry, ...]:
        """Every paper with the parts that carry it and what is missing."""
        params = {"missing": missing} | ({} if tier is None else {"tier": tier})
        return self._list(PaperEntry, "/catalogue/papers", params=params)

    def presets(self) -> tuple[str, ...]:
        """Names of the ready-made spaces."""
        found = self._request("GET", "/spaces")
        return tuple(TypeAdapter(list[str]).validate_json(found.content))

    def space(self, preset: str) -> dict[str, Any]:
        """A ready-made space as data."""
        space: dict[str, Any] = self._request("GET", f"/spaces/{preset}").json()
        return space

    def validate(self, data: Any) -> Validation:
        """Checks a study, a space or an architecture without starting anything."""
        return self._call(Validation, "POST", "/validate", json=data)

    def cost(self, data: Any, *, context: int, dtype_bytes: int = 4) -> CostView:
        """Price of an architecture, or of a space that leaves nothing to choose."""
        params = {"context": context, "dtype_bytes": dtype_bytes}
        return self._call(CostView, "POST", "/cost", json=data, params=params)

    def graph(self, data: Any, *, context: int) -> Graph:
        """Drawing of an architecture."""
        return self._call(Graph, "POST", "/graph", json=data, params={"context": context})

    def health(self) -> Health:
        """Whether the service is well."""
        return self._call(Health, "GET", "/health")

    def close(self) -> None:
        """Closes the connection."""
        self._http.close()

    # Inner ---------------------------------------------------------------------------------------

    def _call(self, model: type[M], method: str, path: str, **options: Any) -> M:
        return model.model_validate_json(self._request(method, path, **options).content)

    def _list(self, model: type[M], path: str, **options: Any) -> tuple[M, ...]:
        content = self._request("GET", path, **options).content
        return tuple(TypeAdapter(list[model]).validate_json(content))  # type: ignore[valid-type]

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._connected():
            response = self._http.request(method, path, **options)
        if response.is_error:
            raise _error_of(response)
        return response

    def _download(self, done: ExportView, out: Path) -> None:
        import hashlib

        from nas.export.folder import replacing

        folder = Path(done.folder).name
        with replacing(out) as stage:
            for file in done.files:
                path = f"/studies/{done.study}/exports/{folder}/{file.name}"
                content = self._request("GET", path).content
                if hashlib.sha256(content).hexdigest() != file.sha256:
                    raise Unavailable(
                        f"{file.name} arrived damaged from {self.url}; export it again"
                    )
                (stage / file.name).write_bytes(content)

    def _connected(self) -> "_Connected":
        return _Connected(self.url)


class _Connected:
    """Turns a failed connection into an error that says what would work."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
            raise Unavailable(
                f"{self.url!r} is no address of a server; write http://127.0.0.1:8731"
            ) from None
        if isinstance(error, httpx.TransportError):
            raise Unavailable(
                f"no answer from {self.url} ({error}); is `nas serve` running there?"
            ) from None


def limit_text(metric: str, low: float | None, high: float | None) -> str:
    """A limit as it stands in a URL: ``metric:min:max``, either bound empty."""
    return f"{metric}:{'' if low is None else repr(low)}:{'' if high is None else repr(high)}"


def _error_of(response: httpx.Response) -> NasError:
    """The error that the server raised, raised again here."""
    try:
        body = json.loads(response.text)["error"]
        kind = _ERRORS.get(body["code"], NasError)
        return kind(body["message"], [_problem(problem) for problem in body["problems"]])
    except (ValueError, KeyError, TypeError):
        return Unavailable(
            f"{response.request.url} answered {response.status_code} and not as this service does"
        )


def _problem(data: Mapping[str, Any]) -> Problem:
    return Problem(data["path"], data["message"], data["given"], data["accepted"])


_ERRORS: dict[str, type[NasError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, NasError)
}
