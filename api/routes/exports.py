"""Export a trial as code, and fetch the files."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import FileResponse
from pydantic import ConfigDict, Field

from nas.api.dependencies import ServiceDep
from nas.errors import NotFound
from nas.search_spaces.base import Model
from nas.views import ExportView, KernelForm

router = APIRouter(tags=["export"])


class ExportRequest(Model):
    """What to export."""

    model_config = ConfigDict(defer_build=False)  # FastAPI warns of a body that is not built

    trial: Annotated[int, Field(ge=0)] | None = None
    """None is the knee of the front."""
    prefix: Annotated[int, Field(ge=0)] | None = None
    """Of a nested model: which prefix to cut out; None is the whole model."""
    kernels: KernelForm | None = None
    """``triton`` writes the Triton kernels of the model's ops as a second file."""


@router.post("/studies/{name}/exports", status_code=201)
def create_export(name: str, request: ExportRequest, service: ServiceDep) -> ExportView:
    """Writes a trial as code and checks it in a clean interpreter; takes some seconds, and with
    kernels some minutes where there is no GPU to check them on."""
    return service.export(name, trial=request.trial, prefix=request.prefix, kernels=request.kernels)


@router.get("/studies/{name}/exports/{export}/{file}", response_class=FileResponse)
def fetch_file(name: str, export: str, file: str, service: ServiceDep) -> FileResponse:
    """One file of an export."""
    service.study(name)
    root = (service.settings.home / "exports" / name).resolve()
    path = (root / export / file).resolve()
    if root not in path.parents or not path.is_file():
        raise NotFound(f"study {name!r} has no export {Path(export) / file}; export it first")
    return FileResponse(path, filename=file)
