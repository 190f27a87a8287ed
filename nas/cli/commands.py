"""The commands. Each is one verb of the service, and a way to print its answer."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from pydantic import BaseModel

from nas.cli.backend import backend, stateless
from nas.inputs import read_file
from nas.views import KernelForm

app = typer.Typer(
    help="Neural architecture search for transformer-like models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
study_app = typer.Typer(help="Start, watch and manage studies.", no_args_is_help=True)
trial_app = typer.Typer(help="Look at the trials of a study.", no_args_is_help=True)
app.add_typer(study_app, name="study")
app.add_typer(trial_app, name="trial")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Server = Annotated[
    Optional[str],  # noqa: UP045 - typer reads this form
    typer.Option("--server", help="URL of a running server; otherwise the local database."),
]
Name = Annotated[str, typer.Argument(help="Name of the study.")]
File = Annotated[Path, typer.Argument(help="A YAML or JSON file.")]


def show(answer: Any) -> None:
    """Prints an answer as JSON."""
    if isinstance(answer, BaseModel):
        print(answer.model_dump_json(indent=2))
    elif isinstance(answer, tuple) and answer and isinstance(answer[0], BaseModel):
        print(json.dumps([item.model_dump(mode="json") for item in answer], indent=2))
    else:
        print(json.dumps(answer, indent=2))


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 is any free one.")] = 8731,
) -> None:
    """Serve the REST API."""
    from nas.cli.serve import serve as run
    from nas.settings import Settings

    run(Settings(host=host, port=port))


@study_app.command("start")
def study_start(
    file: File,
    watch: Annotated[bool, typer.Option("--watch", help="Show progress until it ends.")] = False,
    key: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Idempotency key: the same key and study start it only once."),
    ] = None,
    as_json: Json = False,
    server: Server = None,
) -> None:
    """Start a study from a file. Without a server it runs here, until it ends."""
    data = read_file(file)
    with backend(server) as verbs:
        study = verbs.create_study(data, key=key)
        _run(verbs, study.name, watch, as_json)


@study_app.command("resume")
def study_resume(
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", help="Show progress until it ends.")] = False,
    as_json: Json = False,
    server: Server = None,
) -> None:
    """Go on with a study that was stopped or interrupted."""
    with backend(server) as verbs:
        verbs.resume_study(name)
        _run(verbs, name, watch, as_json)


def _run(verbs: Any, name: str, watch: bool, as_json: bool) -> None:
    """Shows a study that was just started; one in this process is waited for."""
    from nas.cli.progress import wait
    from nas.cli.progress import watch as watch_progress
    from nas.cli.tables import front_table, print_study
    from nas.service import Service

    here = isinstance(verbs, Service)
    try:
        if here and as_json:
            wait(verbs, name)
        elif here or watch:
            watch_progress(verbs, name)
    except KeyboardInterrupt:
        left = f"`nas study resume {name}` goes on" if here else "the server goes on with it"
        print(f"interrupted; {left}", file=sys.stderr)
        raise
    study = verbs.study(name)
    if as_json:
        show(study)
        return
    print_study(study)
    if study.state != "running" and study.counts.get("complete"):
        from nas.cli.tables import console

        console.print(front_table(verbs.front(name)))


@study_app.command("list")
def study_list(as_json: Json = False, server: Server = None) -> None:
    """All studies, newest first."""
    from nas.cli.tables import console, study_table

    with backend(server) as verbs:
        studies = verbs.studies()
    if as_json:
        show(studies)
    else:
        console.print(study_table(studies) if studies else "no studies yet")


@study_app.command("show")
def study_show(name: Name, as_json: Json = False, server: Server = None) -> None:
    """One study and how far it has come."""
    from nas.cli.tables import print_study

    with backend(server) as verbs:
        study = verbs.study(name)
    show(study) if as_json else print_study(study)


@study_app.command("stop")
def study_stop(name: Name, as_json: Json = False, server: Server = None) -> None:
    """Stop a study that runs on a server; it can be resumed."""
    from nas.cli.tables import print_study

    with backend(server) as verbs:
        study = verbs.stop_study(name)
    show(study) if as_json else print_study(study)


@study_app.command("space")
def study_space(name: Name, file: File, as_json: Json = False, server: Server = None) -> None:
    """Give a study that is not running another space, from a file, as a new version."""
    from nas.cli.tables import print_version

    data = read_file(file)
    with backend(server) as verbs:
        version = verbs.change_space(name, data)
    show(version) if as_json else print_version(version)


@study_app.command("versions")
def study_versions(name: Name, as_json: Json = False, server: Server = None) -> None:
    """The versions of a study's space, and which trials each of them holds."""
    from nas.cli.tables import print_version

    with backend(server) as verbs:
        versions = verbs.space_versions(name)
    if as_json:
        show(versions)
        return
    for version in versions:
        print_version(version)


@study_app.command("replay")
def study_replay(name: Name, as_json: Json = False, server: Server = None) -> None:
    """Derive every proposal again from the log alone; nothing is trained or measured."""
    from nas.cli.tables import print_replay

    with backend(server) as verbs:
        found = verbs.replay(name)
    show(found) if as_json else print_replay(found)


@study_app.command("delete")
def study_delete(name: Name, as_json: Json = False, server: Server = None) -> None:
    """Remove a study with its trials and files."""
    with backend(server) as verbs:
        gone = verbs.delete_study(name)
    show(gone) if as_json else print(f"deleted study {gone.name} with {gone.trials} trials")


@trial_app.command("list")
def trial_list(
    name: Name,
    state: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="complete, stopped, infeasible, failed or repeat; may be given again."),
    ] = None,
    sort: Annotated[str, typer.Option(help="number, seconds, started, or a metric.")] = "number",
    descending: Annotated[bool, typer.Option("--descending", help="Largest first.")] = False,
    count: Annotated[int, typer.Option(help="Trials at most.", min=1)] = 100,
    offset: Annotated[int, typer.Option(help="Trials to skip.", min=0)] = 0,
    as_json: Json = False,
    server: Server = None,
) -> None:
    """The trials of a study."""
    from nas.cli.tables import console, trial_table
    from nas.inputs import trial_query

    query = trial_query(state or [], sort, descending, offset, count)
    with backend(server) as verbs:
        page = verbs.trials(name, query)
        if as_json:
            show(page)
            return
        metrics = [objective.metric for objective in verbs.study(name).objectives]
    console.print(trial_table(page.trials, metrics))
    console.print(f"{len(page.trials)} of {page.total} trials")


@trial_app.command("show")
def trial_show(
    name: Name,
    number: Annotated[int, typer.Argument(help="Number of the trial.")],
    as_json: Json = False,
    server: Server = None,
) -> None:
    """One trial with all its measurements."""
    from nas.cli.tables import print_trial

    with backend(server) as verbs:
        trial = verbs.trial(name, number)
    show(trial) if as_json else print_trial(trial)


@app.command()
def front(
    name: Name,
    metrics: Annotated[
        str, typer.Option(help="Recorded metrics, separated by commas; default: the objectives.")
    ] = "",
    as_json: Json = False,
    server: Server = None,
) -> None:
    """The Pareto front of a study."""
    from nas.cli.tables import print_front

    wanted = [metric.strip() for metric in metrics.split(",") if metric.strip()]
    with backend(server) as verbs:
        found = verbs.front(name, metrics=wanted)
    if as_json:
        show(found)
        return
    print_front(found)


@app.command()
def compare(
    first: Name,
    second: Annotated[str, typer.Argument(help="Name of the other study.")],
    metric: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="A metric that both have; may be given again. Default: the objectives."),
    ] = None,
    plot: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Draw hypervolume over each cost, and both fronts, here: .svg."),
    ] = None,
    as_json: Json = False,
    server: Server = None,
) -> None:
    """Compare two studies at equal training tokens, FLOPs, trials and seconds."""
    from nas.cli.comparing import draw_comparison, print_comparison
    from nas.cli.files import check_file

    check_file("plot", plot, (".svg",))
    with backend(server) as verbs:
        found = verbs.compare(first, second, metrics=metric or [])
    if plot is not None:
        draw_comparison(found, plot)
    show(found) if as_json else print_comparison(found)


@app.command()
def proxies(
    name: Name,
    metric: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="A trained metric; default: the trained objectives."),
    ] = None,
    as_json: Json = False,
    server: Server = None,
) -> None:
    """How far the cheap measurements of a study can be trusted."""
    from nas.cli.tables import print_ledger

    with backend(server) as verbs:
        found = verbs.proxies(name, metric=metric)
    show(found) if as_json else print_ledger(found)


@app.command("bench")
def bench_samplers(
    file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(metavar="[TABLE]", help="A table in Parquet, CSV or JSON lines."),
    ] = None,
    study: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Instead of a table: the complete trials of this study."),
    ] = None,
    axes: Annotated[
        str, typer.Option(help="Columns to choose; arch[] splits text into its characters.")
    ] = "",
    objectives: Annotated[str, typer.Option(help="Such as acc:max,flops:min.")] = "",
    cheap: Annotated[str, typer.Option(help="Objectives known before an evaluation.")] = "",
    samplers: Annotated[
        str, typer.Option(help="Names separated by commas; own and peers are all of a kind.")
    ] = "nas.surrogate,uniform,optuna.nsga2,optuna.tpe,nevergrad.de",
    seeds: Annotated[int, typer.Option(help="Runs of each sampler.", min=1)] = 10,
    first_seed: Annotated[int, typer.Option(help="The others count up from it.", min=0)] = 0,
    evaluations: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Of each run; default: 400, at most half of the rows.", min=1),
    ] = None,
    at: Annotated[
        str, typer.Option(help="Evaluations at which to report; default: 1/8, 1/4, 1/2 and all.")
    ] = "",
    workers: Annotated[int, typer.Option(help="Simulated evaluations at once.", min=1)] = 1,
    count_repeats: Annotated[
        bool, typer.Option("--count-repeats", help="A repeat costs an evaluation.")
    ] = False,
    jobs: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write the report here: .json or .md."),
    ] = None,
    plot: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Draw share of hypervolume over evaluations here: .svg."),
    ] = None,
    as_json: Json = False,
    server: Server = None,
) -> None:
    """Hold samplers against each other on a recorded table or study."""
    from nas.bench.reading import names, parse_checkpoints
    from nas.cli import bench

    bench.check_files(out, plot)
    checkpoints = parse_checkpoints(at)
    rows, known = bench.load(bench.Source(file, study, axes, objectives, cheap), server)
    report = bench.compare(
        rows,
        evaluations,
        arms=names(samplers),
        seeds=range(first_seed, first_seed + seeds),
        cheap=known,
        workers=workers,
        count_repeats=count_repeats,
        checkpoints=checkpoints,
        jobs=jobs,
    )
    bench.write(report, out, plot)
    show(report) if as_json else bench.print_report(report)


@app.command()
def report(name: Name, as_json: Json = False, server: Server = None) -> None:
    """Who proposed what, and whether the search beat the control arms."""
    from nas.cli.reports import print_report

    with backend(server) as verbs:
        found = verbs.report(name)
    show(found) if as_json else print_report(found)


@app.command()
def reprice(
    name: Name,
    target: Annotated[Path, typer.Option(help="A YAML or JSON file with a target.")],
    every: Annotated[
        bool, typer.Option("--all", help="Every complete trial, not the front alone.")
    ] = False,
    as_json: Json = False,
    server: Server = None,
) -> None:
    """Show a study's front on another target, measured here; nothing is trained."""
    from nas.cli.tables import print_repriced

    data = read_file(target)
    with backend(server) as verbs:
        found = verbs.reprice(name, data, every=every)
    show(found) if as_json else print_repriced(found)


@app.command()
def export(
    name: Name,
    out: Annotated[Path, typer.Option(help="Folder for the files.")],
    number: Annotated[
        Optional[int],  # noqa: UP045
        typer.Argument(help="Number of the trial."),
    ] = None,
    knee: Annotated[bool, typer.Option("--knee", help="The knee of the front (default).")] = False,
    prefix: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Of a nested model: cut out this prefix, 0 is the smallest."),
    ] = None,
    kernels: Annotated[
        Optional[KernelForm],  # noqa: UP045
        typer.Option(help="Write the kernels of the model's ops as a second file."),
    ] = None,
    as_json: Json = False,
    server: Server = None,
) -> None:
    """Write a trial as a PyTorch file of its own, checked in a clean interpreter."""
    from nas.errors import BadInput

    if knee and number is not None:
        raise BadInput("give either the number of a trial or --knee, not both")
    with backend(server) as verbs:
        done = verbs.export(name, trial=number, prefix=prefix, kernels=kernels, out=out)
    if as_json:
        show(done)
        return
    print(f"trial {done.trial} ({done.architecture}) exported and verified in {done.folder}:")
    for file in done.files:
        print(f"  {file.name:22} {file.bytes:>12,} bytes")
    if found := done.certificate.get("kernels"):
        _print_kernels(found)
    for found in done.remeasured:
        if "@" not in found.metric:
            print(f"  measured again: {found.metric} {found.value:.4g} {found.unit}")
    if done.remeasuring:
        print(f"  not measured again: {done.remeasuring}")
    print(f"run it: python {Path(done.folder) / 'model.py'}")


def _print_kernels(kernels: dict[str, Any]) -> None:
    """What the second file holds, and how it was checked."""
    print(f"  kernels of {', '.join(kernels['ops'])}: {kernels['ran']}")
    if kernels["without"]:
        print(f"  in plain torch, having none: {', '.join(kernels['without'])}")


@app.command()
def catalogue(
    slot: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="[KIND]", help="Only one kind of part, such as mixers."),
    ] = None,
    papers: Annotated[bool, typer.Option("--papers", help="Papers and their parts.")] = False,
    tier: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, max=3, help="With --papers: only those of one tier."),
    ] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="With --papers: only those that lack something.")
    ] = False,
    as_json: Json = False,
    server: Server = None,
) -> None:
    """The parts that a space can use."""
    from nas.cli.tables import console, print_papers, table
    from nas.errors import BadInput

    if papers and slot is not None:
        raise BadInput("give either a kind of part or --papers, not both")
    if not papers and (missing or tier is not None):
        raise BadInput("--tier and --missing choose among papers; add --papers")
    with stateless(server) as verbs:
        if papers:
            found = verbs.papers(tier=tier, missing=missing)
            show(found) if as_json else print_papers(found)
            return
        entries = verbs.catalogue(slot)
    lines = [(entry.slot, entry.kind, entry.doc.splitlines()[0]) for entry in entries]
    show(entries) if as_json else console.print(table(("slot", "kind", "what it is"), lines))


@app.command()
def space(
    preset: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(help="Name of a ready-made space."),
    ] = None,
    as_json: Json = False,
    server: Server = None,
) -> None:
    """Print a ready-made space as JSON, or the names of all."""
    with stateless(server) as verbs:
        if preset is not None:
            show(verbs.space(preset))
        elif as_json:
            show(list(verbs.presets()))
        else:
            print("\n".join(verbs.presets()))


@app.command()
def validate(file: File, as_json: Json = False, server: Server = None) -> None:
    """Check a file that holds a study, a space or an architecture."""
    data = read_file(file)
    with stateless(server) as verbs:
        found = verbs.validate(data)
    if as_json:
        show(found)
        return
    print(f"a valid {found.what}: {found.summary}")
    for name, axis in (found.axes or {}).items():
        answers = axis["options"] or f"{axis['low']:g} to {axis['high']:g}"
        print(f"  {name}: {answers}")


@app.command()
def cost(
    file: File,
    context: Annotated[int, typer.Option(help="Tokens.", min=1)] = 1024,
    dtype_bytes: Annotated[int, typer.Option(help="Bytes of a value.", min=1, max=8)] = 4,
    as_json: Json = False,
    server: Server = None,
) -> None:
    """What an architecture costs, in closed form."""
    from nas.cli.tables import print_cost

    data = read_file(file)
    with stateless(server) as verbs:
        found = verbs.cost(data, context=context, dtype_bytes=dtype_bytes)
    show(found) if as_json else print_cost(found)


@app.command()
def graph(
    file: File,
    out: Annotated[Path, typer.Option(help="Where to write the drawing.")] = Path("graph.svg"),
    context: Annotated[int, typer.Option(help="Tokens.", min=1)] = 1024,
    as_json: Json = False,
    server: Server = None,
) -> None:
    """Draw an architecture as SVG."""
    data = read_file(file)
    with stateless(server) as verbs:
        found = verbs.graph(data, context=context)
    if as_json:
        show(found)
        return
    out.write_text(found.svg, encoding="utf-8")
    print(
        f"{found.id}: {found.operators} operators, {found.critical_path_flops:,} FLOPs per token "
        f"on the critical path, {found.peak_activation_bytes:,} bytes of activations at the peak; "
        f"drawn in {out}"
    )
