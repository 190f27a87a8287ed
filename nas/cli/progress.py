"""A study while it runs: a bar, trials done, the best so far, time left."""

import time

from rich.progress import BarColumn, Progress, TextColumn

from nas.cli.tables import console, number
from nas.verbs import Verbs
from nas.views import StudyView

PAUSE_SECONDS = 0.5


def watch(verbs: Verbs, name: str) -> StudyView:
    """Shows a study until it ends; on a terminal as a bar, else a line for each trial."""
    if not console.is_terminal:
        return _watch_lines(verbs, name)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} trials"),
        TextColumn("{task.fields[best]}"),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console) as bar:
        study = verbs.study(name)
        task = bar.add_task(name, total=study.budget_trials, best="", left="")
        while True:
            bar.update(task, completed=study.trials, best=best_text(study), left=left_text(study))
            if study.state != "running":
                return study
            time.sleep(PAUSE_SECONDS)
            study = verbs.study(name)


def best_text(study: StudyView) -> str:
    """The best value of each objective."""
    return ", ".join(f"best {b.metric} {number(b.value, b.unit)}" for b in study.best)


def left_text(study: StudyView) -> str:
    """Time left, where it can be told."""
    if study.seconds_left is None or study.state != "running":
        return ""
    minutes, seconds = divmod(round(study.seconds_left), 60)
    return f"about {minutes}:{seconds:02d} left"


def _watch_lines(verbs: Verbs, name: str) -> StudyView:
    shown = -1
    while True:
        study = verbs.study(name)
        if study.trials != shown:
            shown = study.trials
            parts = (f"{name}: {shown}/{study.budget_trials} trials", best_text(study))
            console.print("  ".join(part for part in (*parts, left_text(study)) if part))
        if study.state != "running":
            return study
        time.sleep(PAUSE_SECONDS)
