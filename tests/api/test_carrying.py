"""An export with kernels, over real HTTP and from the command line: what it asks for arrives."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from nas.client import Client
from nas.errors import ExportRefused
from nas.views import ExportedFile, ExportView, KernelForm
from tests.support.fake import small_study


def test_a_model_whose_ops_have_no_kernels_is_refused(client: Client) -> None:
    client.create_study(small_study("plain", trials=2))
    list(client.events("plain", follow=True))
    with pytest.raises(ExportRefused, match=r"no op with a Triton form.*export it without kernels"):
        client.export("plain", trial=0, kernels=KernelForm.TRITON)


def test_a_form_of_kernels_that_is_not_known_is_refused_by_name(http: httpx.Client) -> None:
    found = http.post("/studies/plain/exports", json={"trial": 0, "kernels": "cuda"})
    assert found.status_code in (400, 422)
    (problem,) = found.json()["error"]["problems"]
    assert problem["path"] == "kernels"
    assert "triton" in problem["accepted"]


def test_the_command_says_what_is_carried_and_how_it_was_checked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from nas.cli import commands

    asked: dict[str, Any] = {}

    def export(name: str, **options: Any) -> ExportView:
        asked.update(options)
        kernels = {"ops": ["short_conv"], "without": ["long_conv"], "ran": "run on a GPU"}
        file = ExportedFile(name="model.py", bytes=1, sha256="")
        return ExportView(
            study=name,
            trial=1,
            architecture="a",
            prefix=None,
            folder=str(tmp_path),
            files=(file,),
            certificate={"kernels": kernels if options["kernels"] else None},
        )

    class Backend:
        def __init__(self, server: Any) -> None: ...
        def __enter__(self) -> Any:
            return SimpleNamespace(export=export)

        def __exit__(self, *about: Any) -> None: ...

    monkeypatch.setattr(commands, "backend", Backend)
    commands.export("s", tmp_path, 1, kernels=KernelForm.TRITON)
    assert asked["kernels"] == "triton"
    said = capsys.readouterr().out
    assert "kernels of short_conv: run on a GPU" in said
    assert "in plain torch, having none: long_conv" in said
    commands.export("s", tmp_path, 1)
    assert asked["kernels"] is None
    assert "kernels" not in capsys.readouterr().out
