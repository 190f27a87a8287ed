"""`nas bench`: tables from files, a finished study as a table, and what is refused."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nas.bench.recorded import recorded
from nas.cli import main
from nas.errors import BadInput, NotFound
from nas.record import Measurement, Proposal, TrialRecord
from nas.runner import Runner
from nas.samplers.uniform import UniformSampler
from nas.service import Service
from nas.settings import Settings
from nas.store.base import TrialQuery
from nas.store.duckdb import DuckDBStore
from nas.store.memory import MemoryStore
from nas.study import Objective, StudySpec
from tests.support.benchtable import write_csv
from tests.support.fake import FakeEvaluator, small_study

ALL = TrialQuery()
GOALS = ["--axes", "width,kind", "--objectives", "score:max,cost"]


@pytest.fixture
def nas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command in a folder of its own, in this process: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    for name in ("NAS_HOME", "NAS_SERVER", "NAS_TOKEN", "NAS_DATABASE", "NAS_DEBUG"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nas", "bench", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return (ended.value.code or 0), shown.out, shown.err

    return run


def test_a_table_is_compared_shown_written_and_drawn(nas: Any, tmp_path: Path) -> None:
    write_csv(tmp_path / "grid.csv")
    files = ["--out", "report.json", "--plot", "report.svg"]
    few = ["--samplers", "uniform", "--seeds", "2", "--first-seed", "7", "--at", "2,6"]
    code, out, err = nas("grid.csv", *GOALS, *few, "--cheap", "cost", *files)
    assert code == 0, err
    assert "grid.csv: 12 rows, 2 axes" in out
    assert "2 evaluations" in out
    assert err.splitlines()[-1].startswith("2/2 runs  uniform seed ")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["seeds"] == [7, 8]
    assert report["evaluations"] == 6  # half of the rows
    assert report["cheap"] == ["cost"]
    assert (tmp_path / "report.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give either a table or --study"),
        (["grid.csv", "--study", "small"], "give either a table or --study"),
        (["grid.csv", *GOALS, "--out", "report.txt"], "a file .json or .md"),
        (["grid.csv", *GOALS, "--plot", "missing/report.svg"], "no such folder"),
        (["grid.csv", *GOALS, "--at", "soon"], "no number of evaluations"),
        (["grid.csv", *GOALS, "--samplers", "best"], "no such sampler"),
        (["grid.csv", *GOALS, "--evaluations", "13"], "the table has 12 rows"),
        (["absent.csv", *GOALS], "cannot read absent.csv"),
    ],
)
def test_a_mistake_is_named_before_anything_runs(
    nas: Any, tmp_path: Path, arguments: list[str], says: str
) -> None:
    write_csv(tmp_path / "grid.csv")
    code, out, err = nas(*arguments)
    assert code == 2
    assert says in err
    assert out == ""
    assert "runs" not in err


def fill(store: Any, trials: int, name: str = "small") -> StudySpec:
    """A study with trials of uniform members; loss and latency follow from the size."""
    spec = StudySpec.model_validate(small_study(name))
    store.create_study(name, spec.model_dump(mode="json"), None)
    sampler, evaluator, seen = UniformSampler(spec.space, seed=0), FakeEvaluator(spec), set()
    while len(seen) < trials:
        proposal, member = sampler.ask()
        if member.id in seen:
            continue
        proposal = Proposal(number=len(seen), answers=proposal.answers, proposer="uniform")
        store.ask(name, proposal, member)
        results = [evaluator.run(stage, member, proposal.number) for stage in evaluator.stages]
        size = Measurement(metric="params", value=member.cost(1).params, unit="", stage="static")
        record = TrialRecord(
            study=name,
            number=proposal.number,
            architecture=member.id,
            answers=proposal.answers,
            state="complete",
            proposer="uniform",
            measurements=(size, *(m for result in results for m in result.measurements)),
            started=datetime(2026, 1, 1, tzinfo=UTC),
            seconds=1.0,
        )
        store.finish(record, {})
        seen.add(member.id)
    store.set_state(name, "complete")
    return spec


@pytest.fixture
def service(tmp_path: Path) -> Service:
    store = MemoryStore()
    runner = Runner(store, tmp_path, lambda spec, _: FakeEvaluator(spec))
    return Service(store, Settings(home=tmp_path), runner)


def test_a_study_is_a_table_of_its_complete_trials(service: Service) -> None:
    spec = fill(service.store, 30)
    grid, known = recorded(service, "small")
    assert (len(grid), grid.objectives, known) == (30, spec.objectives, ())
    trials = {trial.number: trial for trial in service.store.trials("small", ALL)[0]}
    for trial in trials.values():
        values = [trial.value(objective.metric) for objective in spec.objectives]
        assert values in grid.values.tolist()
    sizes = [len(options) for options in grid.columns.values()]
    assert sizes == sorted(sizes)
    assert sizes[0] > 1


def test_other_objectives_and_axes_of_a_study_can_be_named(service: Service) -> None:
    fill(service.store, 30)
    goals = (Objective(metric="text.loss"), Objective(metric="params"))
    grid, known = recorded(service, "small", goals, ["dim", "depth"])
    assert known == ("params",)
    assert list(grid.columns) == ["dim", "depth"]
    with pytest.raises(BadInput, match=r"no trial was asked this.*depth"):
        recorded(service, "small", goals, ["height"])
    with pytest.raises(BadInput, match=r"0 complete trials have text\.loss, speed"):
        recorded(service, "small", (*goals[:1], Objective(metric="speed")))


def test_a_study_with_few_trials_or_none_is_refused(service: Service) -> None:
    fill(service.store, 5)
    with pytest.raises(BadInput, match="5 complete trials"):
        recorded(service, "small")
    with pytest.raises(NotFound):
        recorded(service, "absent")


def test_the_command_reads_the_study_of_the_database(nas: Any, tmp_path: Path) -> None:
    store = DuckDBStore(Settings(home=tmp_path / "nas-data").database_path)
    fill(store, 20)
    store.close()
    few = ["--samplers", "uniform", "--seeds", "1", "--json"]
    code, out, err = nas("--study", "small", *few)
    assert code == 0, err
    report = json.loads(out)
    assert (report["table"], report["rows"], report["evaluations"]) == ("small", 20, 10)
