"""What the journey says of a study before it runs."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

JOURNEY = Path(__file__).parents[2] / "studies" / "journey.py"


class Stop(Exception):
    """Ends the journey where the search would begin."""


def test_the_journey_names_the_budget_that_a_study_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("name: timed\n")
    study = SimpleNamespace(
        name="timed",
        state="running",
        trials=0,
        seconds=0.0,
        budget_trials=None,
        budget_train_tokens=None,
        budget_train_flops=None,
        budget_minutes=3.0,
    )
    client = SimpleNamespace(create_study=lambda data, key: study)

    def watch(client: Any, name: str) -> None:
        raise Stop

    module = runpy.run_path(str(JOURNEY))
    monkeypatch.setitem(module["journey"].__globals__, "watch", watch)
    with pytest.raises(Stop):
        module["journey"](file, client, SimpleNamespace())
    assert "study timed: 0 trials, 0/3 min" in capsys.readouterr().out
