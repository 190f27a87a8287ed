"""The REST API over real HTTP, mostly through the typed client."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from nas.client import Client
from nas.errors import BadInput, Conflict, NotFound, Unauthorised, Unavailable
from nas.search_spaces.papers import papers
from nas.store.base import TrialQuery
from nas.study import Limit
from tests.support.fake import small_study
from tests.support.server import Server


@pytest.fixture(scope="module")
def study(server: Server) -> str:
    """A finished study."""
    client = Client(server.url)
    client.create_study(small_study("done", trials=12))
    kinds = [event.kind for event in client.events("done", follow=True)]
    assert kinds.count("trial") >= 12
    return "done"


def test_a_finished_study_shows_what_it_did(client: Client, study: str) -> None:
    view = client.study(study)
    assert view.state == "complete"
    assert view.trials == 12
    assert view.counts["complete"] == 12
    assert {best.metric for best in view.best} == {"text.loss", "decode.latency_ms"}
    assert view.seconds_left == 0.0
    assert study in {found.name for found in client.studies()}


def test_the_front_is_not_dominated_and_has_a_knee(client: Client, study: str) -> None:
    front = client.front(study)
    page = client.trials(study, TrialQuery(states=("complete",), count=1000))
    every = [(t.value("text.loss"), t.value("decode.latency_ms")) for t in page.trials]
    points = [
        (p.values["text.loss"].value, p.values["decode.latency_ms"].value) for p in front.points
    ]
    assert front.considered == len(every)
    expected = {
        p for p in every if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in every)
    }
    assert set(points) == expected
    assert [loss for loss, _ in points] == sorted(loss for loss, _ in points)
    assert sum(p.knee for p in front.points) == 1
    assert all("params" in p.values for p in front.points)


def test_the_front_takes_other_metrics_and_limits(client: Client, study: str) -> None:
    smallest = client.front(study, metrics=["params"]).points
    assert len({p.values["params"].value for p in smallest}) == 1
    bound = sorted(
        t.value("params") or 0 for t in client.trials(study, TrialQuery(count=1000)).trials
    )[6]
    limited = client.front(study, limits=[Limit(metric="params", max=bound)])
    assert limited.points
    assert all(p.values["params"].value <= bound for p in limited.points)
    with pytest.raises(BadInput, match=r"metrics\.0.*text\.loss"):
        client.front(study, metrics=["text.lost"])


def test_trials_are_paged_filtered_and_sorted(client: Client, study: str) -> None:
    query = TrialQuery(sort="text.loss", descending=True, count=5, states=("complete",))
    page = client.trials(study, query)
    losses = [trial.value("text.loss") for trial in page.trials]
    assert len(losses) == 5
    assert page.total == 12
    assert losses == sorted(losses, reverse=True)
    rest = client.trials(
        study, TrialQuery(sort="text.loss", descending=True, offset=5, states=("complete",))
    )
    assert len(rest.trials) == 7
    assert not {t.number for t in rest.trials} & {t.number for t in page.trials}
    bound = losses[2]
    assert bound is not None
    cheap = client.trials(study, TrialQuery(limits=(("text.loss", None, bound),)))
    assert all((t.value("text.loss") or 0) <= bound for t in cheap.trials)
    with pytest.raises(BadInput, match="sort"):
        client.trials(study, TrialQuery(sort="beauty"))


def test_one_trial_in_full(client: Client, study: str) -> None:
    page = client.trials(study, TrialQuery(states=("complete",), count=1))
    trial = client.trial(study, page.trials[0].number)
    assert trial.architecture_json.id == trial.architecture
    assert trial.curves["text"].loss[0] == 5.5
    assert trial.environment_json is not None
    assert trial.environment_json["device"] == "fake"
    latency = next(m for m in trial.measurements if m.metric == "decode.latency_ms")
    assert latency.unit == "ms"
    assert latency.low is not None
    with pytest.raises(NotFound, match="99"):
        client.trial(study, 99)


def test_an_idempotency_key_starts_a_study_once(client: Client) -> None:
    data = small_study("once", trials=1)
    first = client.create_study(data, key="abc")
    assert client.create_study(data, key="abc").created == first.created
    with pytest.raises(Conflict, match="once"):
        client.create_study(data)
    with pytest.raises(Conflict, match="key"):
        client.create_study(small_study("other", trials=1), key="abc")
    assert "other" not in {study.name for study in client.studies()}


def test_stop_resume_delete(server: Server, tmp_path: Path) -> None:
    slow = Server(tmp_path, seconds=0.2)
    try:
        client = Client(slow.url)
        client.create_study(small_study("slow", trials=500))
        with pytest.raises(Conflict, match="stop it first"):
            client.delete_study("slow")
        with pytest.raises(Conflict, match="running already"):
            client.resume_study("slow")
        stopped = client.stop_study("slow")
        assert stopped.state == "stopped"
        with pytest.raises(Conflict, match="not running"):
            client.stop_study("slow")
        assert client.resume_study("slow").state == "running"
        assert client.health().running == ("slow",)
        client.stop_study("slow")
        done = client.study("slow").proposals
        assert done >= stopped.proposals
        assert client.delete_study("slow").trials == done
        with pytest.raises(NotFound, match="slow"):
            client.study("slow")
    finally:
        slow.close()


def test_events_can_be_taken_up_where_they_were_left(http: httpx.Client, study: str) -> None:
    whole = http.get(f"/studies/{study}/events").text
    ids = [int(line[4:]) for line in whole.splitlines() if line.startswith("id: ")]
    assert ids == sorted(set(ids))
    middle = ids[len(ids) // 2]
    rest = http.get(f"/studies/{study}/events", headers={"Last-Event-ID": str(middle)}).text
    assert [int(x[4:]) for x in rest.splitlines() if x.startswith("id: ")] == [
        i for i in ids if i > middle
    ]


def test_catalogue_spaces_validation_and_cost_need_no_study(client: Client) -> None:
    kinds = {(entry.slot, entry.kind) for entry in client.catalogue()}
    assert ("mixers", "attention") in kinds
    assert {entry.slot for entry in client.catalogue("ffns")} == {"ffns"}
    assert client.papers() == papers()
    assert client.papers(tier=2, missing=True) == papers(tier=2, missing=True)
    with pytest.raises(BadInput, match="tier"):
        client.papers(tier=4)
    assert "hybrid_ratio" in client.presets()
    assert client.validate(client.space("hybrid_ratio")).what == "space"
    fixed = {
        "dim": 64,
        "depth": 2,
        "mixer": {"kind": "attention", "heads": 4, "groups": 2, "head_dim": 16},
        "ffn": {"kind": "swiglu", "hidden": 96},
    }
    cost = client.cost(fixed, context=128)
    assert cost.kv_cache_bytes == 2 * (2 * 2 * 16) * 128 * 4
    assert client.graph(fixed, context=128).svg.lstrip().startswith("<svg")
    with pytest.raises(BadInput, match="depth"):
        client.cost({**fixed, "depth": {"choice": [2, 3]}}, context=128)
    with pytest.raises(NotFound, match="mixers"):
        client.catalogue("mixer")
    with pytest.raises(NotFound, match="hybrid_ratio"):
        client.space("hybrid_ration")


def test_every_way_to_fail_has_one_shape(http: httpx.Client) -> None:
    failures = {
        404: [http.get("/nowhere"), http.get("/studies/none"), http.get("/spaces/none")],
        405: [http.put("/studies")],
        422: [
            http.post("/studies", json=[]),
            http.post("/studies", content=b"{", headers={"content-type": "application/json"}),
            http.post("/studies", json={}),
            http.get("/studies/none/trials", params={"count": "many"}),
            http.get("/studies/none/trials", params={"limit": "params"}),
            http.post("/cost", params={"context": 0}, json={}),
        ],
    }
    for status, responses in failures.items():
        for response in responses:
            assert response.status_code == status, response.text
            error = response.json()["error"]
            assert set(error) == {"code", "message", "problems"}
            assert error["message"]
            for problem in error["problems"]:
                assert set(problem) == {"path", "message", "given", "accepted"}


def test_openapi_describes_every_answer(http: httpx.Client) -> None:
    described = http.get("/openapi.json").json()
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            codes = operation["responses"]
            good = [code for code in codes if code.startswith("2")]
            assert good, (path, method)
            assert {"401", "404", "409", "422", "500", "503"} <= set(codes), (path, method)
            for code in ("404", "422"):
                schema = codes[code]["content"]["application/json"]["schema"]
                assert schema["$ref"].endswith("/ErrorBody"), (path, method, code)


def test_a_token_is_asked_for_when_one_is_set(tmp_path: Path) -> None:
    server = Server(tmp_path, token="secret")
    try:
        assert Client(server.url).health().status == "ok"
        with pytest.raises(Unauthorised, match="Bearer"):
            Client(server.url).studies()
        with pytest.raises(Unauthorised):
            Client(server.url, token="wrong").studies()
        assert Client(server.url, token="secret").studies() == ()
    finally:
        server.close()


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9.*nas serve"):
        Client("http://127.0.0.1:9").studies()
    with pytest.raises(Unavailable, match="no address"):
        Client("nonsense").studies()


def test_json_bodies_hold_what_was_given(http: httpx.Client) -> None:
    data = small_study("bad")
    data["space"]["mixer"]["placed"]["heads"] = "four"  # type: ignore[index]
    body = http.post("/studies", json=data).json()
    problem = body["error"]["problems"][0]
    assert problem["path"] == "space.mixer.placed.heads"
    assert problem["given"] == "four"
    assert json.dumps(body)


def test_the_python_of_the_documentation_runs(
    server: Server, study: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    exec(code.replace("http://127.0.0.1:8731", server.url), {})
    assert f"{study} complete 12" in capsys.readouterr().out


def test_the_app_is_made_without_a_warning() -> None:
    code = (
        "import warnings; warnings.simplefilter('error'); import nas.api.app as app; "
        "print(len(app.create_app(None).openapi()['paths']))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 10
