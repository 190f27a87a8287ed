"""The REST API: routes are one call to the service each."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from nas import __version__
from nas.api import errors
from nas.api.dependencies import check_token
from nas.api.routes import (
    catalogue,
    comparisons,
    exports,
    fronts,
    health,
    proxies,
    reports,
    repricings,
    spaces,
    studies,
    trials,
    versions,
)
from nas.service import Service

DESCRIPTION = """Neural architecture search for transformer-like models.

Start a study (`POST /studies`), query the Pareto front (`GET /studies/{name}/front`), export the
winner as code (`POST /studies/{name}/exports`)."""


def create_app(service: Service) -> FastAPI:
    """The application around a service; studies that were interrupted are taken up at start."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.recover()
        yield
        service.close()

    app = FastAPI(
        title="nas",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        dependencies=[Depends(check_token)],
        responses=errors.RESPONSES,
    )
    app.state.service = service
    errors.install(app)
    for module in (
        studies,
        versions,
        trials,
        fronts,
        comparisons,
        proxies,
        reports,
        repricings,
        exports,
        catalogue,
        spaces,
        health,
    ):
        app.include_router(module.router)
    return app
