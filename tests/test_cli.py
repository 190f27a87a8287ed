"""The command line: what it prints, and how it fails."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas.cli import main
from nas.runner import Runner
from tests.support.fake import FakeEvaluator, small_study
from tests.support.problems import TINY
from tests.support.server import Server


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command works in a folder of its own, with the fake evaluator."""
    monkeypatch.chdir(tmp_path)
    for name in ("NAS_HOME", "NAS_SERVER", "NAS_TOKEN", "NAS_DATABASE", "NAS_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    original = Runner.__init__

    def fake(self: Runner, store: Any, home: Path) -> None:
        original(self, store, home, lambda spec, _: FakeEvaluator(spec))

    monkeypatch.setattr(Runner, "__init__", fake)
    return tmp_path


class Ran:
    """What one command printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def nas(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["nas", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run


def write(data: Any, name: str = "study.yaml") -> str:
    Path(name).write_text(data if isinstance(data, str) else yaml.safe_dump(data))
    return name


def test_a_study_from_start_to_delete(nas: Any) -> None:
    started = nas("study", "start", write(small_study(trials=4)), "--json")
    assert started.code == 0, started.err
    assert json.loads(started.out)["state"] == "complete"
    assert "small" in nas("study", "list").out
    assert "4/4" in nas("study", "show", "small").out
    assert "4 of" in nas("trial", "list", "small", "--state", "complete").out
    assert "text.loss" in nas("trial", "show", "small", "0").out
    assert "knee" in nas("front", "small").out
    points = json.loads(nas("front", "small", "--metrics", "params", "--json").out)["points"]
    assert len(points) == 1
    assert nas("study", "delete", "small").code == 0
    assert "no studies" in nas("study", "list").out


def test_proxies_beside_parameters_and_random(nas: Any) -> None:
    nas("study", "start", write(small_study(trials=14)), "--json")
    shown = nas("proxies", "small").out
    assert "against text.loss (lower is better), 14 of 14 complete trials" in shown
    assert re.search(r"^params +14 +1\.00 \(1\.00\.\.1\.00\)", shown, re.MULTILINE)
    assert re.search(r"^random +14 .* demoted", shown, re.MULTILINE)
    asked = json.loads(nas("proxies", "small", "--metric", "text.loss", "--json").out)
    assert asked["references"][0]["proxies"][2]["metric"] == "random"
    wrong = nas("proxies", "small", "--metric", "params")
    assert wrong.code == 2
    assert "text.loss" in wrong.err


def test_the_report_says_who_proposed_what_and_whether_it_was_worth_it(nas: Any) -> None:
    nas("study", "start", write(small_study(trials=20)), "--json")
    shown = nas("report", "small").out
    assert "10% of the evaluated trials are the control arm's" in shown
    assert re.search(r"^control\.random +1 +1 ", shown, re.MULTILINE)
    assert "the sampler against both control arms: too few to say: 18 evaluated trials" in shown
    asked = json.loads(nas("report", "small", "--json").out)
    assert asked["evaluated"] == 20


def test_a_study_is_priced_on_another_target(nas: Any) -> None:
    nas("study", "start", write(small_study(trials=4)), "--json")
    Path("target.json").write_text(json.dumps({"contexts": [16, 48]}))
    shown = nas("reprice", "small", "--target", "target.json").out
    assert re.search(r"decode\.latency_ms +in the study", shown)
    assert re.search(r"measured whole on ", shown)
    every = json.loads(nas("reprice", "small", "--target", "target.json", "--all", "--json").out)
    assert len(every["points"]) >= shown.count(" yes ")
    assert {p["after"]["decode.latency_ms"]["stage"] for p in every["points"]} <= {
        "latency",
        "composed",
    }
    Path("target.json").write_text(json.dumps({"device": "tpu"}))
    wrong = nas("reprice", "small", "--target", "target.json")
    assert (wrong.code, wrong.out) == (2, "")
    assert "cuda" in wrong.err


def test_a_space_is_changed_its_versions_shown_and_the_study_replayed(nas: Any) -> None:
    few = {**TINY, "vocab": 256, "dim": 16}
    nas("study", "start", write(small_study(trials=60, space=few)), "--json")
    wider = {**few, "dim": {"choice": [16, 32]}, "depth": 1}
    done = nas("study", "space", "small", write(wider, "wider.yaml"))
    assert done.code == 0, done.err
    assert "new question: dim" in done.out
    assert re.search(r"earlier proposals 0 are valid as recorded, \d+ under other", done.out)
    assert re.search(r"^  trial \d+: not asked any more.*depth = 2", done.out, re.MULTILINE)
    nas("study", "resume", "small", "--json")
    shown = nas("study", "versions", "small").out
    assert re.search(r"^version 1 .*\n(.*\n)*version 2 ", shown)
    assert len(json.loads(nas("study", "versions", "small", "--json").out)) == 2
    assert re.search(
        r"identical (\d+) of \1 proposals of optuna", nas("study", "replay", "small").out
    )
    wrong = nas("study", "space", "small", write({**few, "depth": 0}, "wrong.yaml"))
    assert (wrong.code, "space.depth" in wrong.err) == (2, True)


def test_papers_with_their_parts_and_what_is_missing(nas: Any) -> None:
    every = nas("catalogue", "--papers", "--tier", "1").out
    assert re.search(r"MatFormer: .*\n +ffns/nested\n", every)
    assert every.splitlines()[-1].startswith("86 papers: ")
    lacking = json.loads(nas("catalogue", "--papers", "--missing", "--json").out)
    assert lacking
    assert {paper["state"] for paper in lacking} <= {"in part", "no part yet"}
    assert "add --papers" in nas("catalogue", "--missing").err
    assert "not both" in nas("catalogue", "mixers", "--papers").err
    assert nas("catalogue", "--papers", "--tier", "4").code == 2


def test_every_command_takes_json_and_server() -> None:
    import typer.main

    from nas.cli.commands import app

    def leaves(command: Any, path: str = "") -> list[tuple[str, Any]]:
        if hasattr(command, "commands"):
            return [x for n, c in command.commands.items() for x in leaves(c, f"{path} {n}")]
        return [(path.strip(), command)]

    found = leaves(typer.main.get_command(app))
    assert len(found) >= 15
    for name, command in found:
        options = {option for parameter in command.params for option in parameter.opts}
        assert name == "serve" or {"--json", "--server"} <= options, name
        assert command.help, name


@pytest.mark.parametrize(
    ("change", "path", "accepted"),
    [
        ({"budget": {"trials": 0}}, "budget.trials", "1"),
        ({"name": "Not A Name"}, "name", "lower-case letters"),
        ({"objectives": []}, "objectives", "1"),
        ({"objectives": [{"metric": "loss"}]}, "objectives.0.metric", "text.loss"),
        ({"objectives": [{"metric": "text.loss", "direction": "up"}]}, "direction", "minimize"),
        ({"limits": [{"metric": "params"}]}, "limits.0", "max"),
        ({"limits": [{"metric": "params", "max": 10}]}, "limits.0", "smallest"),
        ({"task": {"kind": "text", "corpus": "nowhere.txt"}}, "task.corpus", "python-stdlib"),
        ({"task": {"kind": "recall", "context": 8, "pairs": 8}}, "task", "32"),
        ({"driver": {"sampler": "nsga3"}}, "driver", "nsga2"),
        ({"space": {"preset": "hybrid"}}, "space", "hybrid_ratio"),
        ({"space": {"preset": "hybrid_ratio", "depht": 3}}, "space.depht", "depth"),
        ({"target": {"device": "tpu"}}, "target.device", "cpu"),
        ({"target": {"threads": 1000}}, "target.threads", "1 to"),
        ({"colour": "red"}, "colour", "name"),
        (
            {
                "space": {
                    "preset": "norm_placement",
                    "embedding": {"kind": "learned_position", "max_tokens": 32},
                }
            },
            "space.embedding.max_tokens",
            "at least 64",
        ),
    ],
)
def test_a_mistake_in_a_study_names_the_field_and_what_would_work(
    nas: Any, change: dict[str, Any], path: str, accepted: str
) -> None:
    ran = nas("study", "start", write({**small_study(), **change}))
    assert ran.code == 2
    assert path in ran.err
    assert accepted in ran.err
    assert "Traceback" not in ran.err
    assert "no studies" in nas("study", "list").out  # nothing was begun


def test_a_device_that_is_not_there(nas: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ran = nas("study", "start", write({**small_study(), "target": {"device": "cuda"}}))
    assert ran.code == 2
    assert "target.device" in ran.err
    assert "accepted: cpu" in ran.err


def test_a_corpus_that_cannot_be_read(nas: Any) -> None:
    Path("empty.txt").write_text("")
    Path("binary.bin").write_bytes(bytes(range(256)) * 64)
    Path("folder").mkdir()
    for corpus, says in [("empty.txt", "empty"), ("binary.bin", "binary"), ("folder", "text")]:
        task = {"kind": "text", "corpus": corpus, "context": 32}
        ran = nas("study", "start", write({**small_study(), "task": task}))
        assert ran.code == 2
        assert "task.corpus" in ran.err
        assert says in ran.err


def test_files_that_are_not_what_they_should_be(nas: Any) -> None:
    assert "no file" in nas("validate", "missing.yaml").err
    assert "neither YAML nor JSON" in nas("validate", write("a: [1, 2")).err
    Path("bytes.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as text" in nas("validate", "bytes.yaml").err
    assert "expected an object" in nas("validate", write("[1]")).err
    problems = json.loads(nas("validate", write({"dim": "x", "depth": 2}), "--json").out)
    paths = {problem["path"] for problem in problems["error"]["problems"]}
    assert {"dim", "mixer", "ffn"} <= paths


def test_names_that_do_not_exist_or_are_taken(nas: Any) -> None:
    nas("study", "start", write(small_study(trials=2)))
    assert "small" in nas("study", "show", "smal").err
    assert nas("trial", "show", "small", "77").code == 2
    taken = nas("study", "start", write(small_study(trials=3)))
    assert taken.code == 2
    assert "small" in taken.err
    both = nas("export", "small", "1", "--knee", "--out", "x")
    assert "not both" in both.err
    assert "infeasible" in nas("trial", "list", "small", "--state", "done").err


def test_a_file_that_is_no_database(nas: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("notes.txt").write_text("these are notes, not a database\n" * 400)
    monkeypatch.setenv("NAS_DATABASE", "notes.txt")
    ran = nas("study", "list")
    assert ran.code == 2
    assert "notes.txt" in ran.err
    assert Path("notes.txt").read_text().startswith("these are notes")


def test_a_second_process_uses_the_server_that_holds_the_database(nas: Any, home: Path) -> None:
    server = Server(home / "nas-data")
    try:
        started = nas("study", "start", write(small_study(trials=3)), "--watch")
        assert started.code == 0, started.err
        assert "knee" in started.out
        assert "small" in nas("study", "list", "--server", server.url).out
        (home / "nas-data" / "nas.duckdb.server.json").rename("hidden.json")
        refused = nas("study", "list")
        assert refused.code == 2
        assert str(server.process.pid) in refused.err or "another process" in refused.err
        Path("hidden.json").rename(home / "nas-data" / "nas.duckdb.server.json")
    finally:
        server.close()
    assert "3/3" in nas("study", "list").out


def test_a_bound_address_that_others_reach_needs_a_token(nas: Any) -> None:
    assert "NAS_TOKEN" in nas("serve", "--host", "0.0.0.0").err


def test_a_closed_pipe_is_no_mistake() -> None:
    command = f"{sys.executable} -m nas space everything | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout.strip() == "{"
    assert done.stderr == ""


def test_ctrl_c_ends_a_study_so_that_it_can_be_resumed(home: Path) -> None:
    script = (
        "import sys; from nas.runner import Runner; from nas.cli import main\n"
        "from tests.support.fake import FakeEvaluator\n"
        "make = Runner.__init__\n"
        "Runner.__init__ = lambda self, store, home: make(\n"
        "    self, store, home, lambda spec, _: FakeEvaluator(spec, seconds=0.1))\n"
        "sys.argv = ['nas', *sys.argv[1:]]; main()\n"
    )
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", script, "study"]
    study = write(small_study(trials=30))
    environment = {**os.environ, "PYTHONPATH": str(root)}
    running = subprocess.Popen(
        [*command, "start", study],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    while (
        not (shown := re.search(r" (\d+)/30 trials", running.stdout.readline())) or shown[1] == "0"
    ):
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err.strip() == "interrupted; `nas study resume small` goes on"
    done = subprocess.run(
        [*command, "resume", "small", "--json"], env=environment, capture_output=True, text=True
    )
    assert json.loads(done.stdout)["trials"] == 30


def test_how_sure_a_front_is_and_two_studies_side_by_side(nas: Any) -> None:
    confirm = {"seeds": 1, "candidates": 2}
    budget = {"total_train_tokens": 8 * 1024, "train_tokens": 1000}
    started = nas("study", "start", write(small_study("sure", confirm=confirm, budget=budget)))
    assert "tokens" in started.out
    assert "8,192/8,192 tokens" in nas("study", "show", "sure").out
    shown = nas("front", "sure").out
    assert "on front" in shown
    assert re.search(r"\d%", shown)
    nas("study", "start", write(small_study("plain", trials=3)))
    assert "was trained with one seed" in " ".join(nas("front", "plain").out.split())
    compared = nas("compare", "sure", "plain")
    assert compared.code == 0
    assert "ahead" in compared.out
    assert "differs: budget.trials: null and 3" in compared.out
    assert json.loads(nas("compare", "sure", "plain", "--json").out)["cuts"]
    assert "lost" in nas("compare", "sure", "plain", "--metric", "lost").err
