"""A study while it runs: a bar, trials done, the best so far, time left."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn

from nas.cli.tables import console, number, spent_text
from nas.verbs import Verbs
from nas.views import StudyView

PAUSE_SECONDS = 0.5


def watch(verbs: Verbs, name: str) -> StudyView:
    """Shows a study until it ends; on a terminal as a bar, else a line whenever the count of
    trials has grown. Ctrl-C
    raises KeyboardInterrupt between two looks, never in the middle of a query."""
    with _interrupts() as pressed:
        if not console.is_terminal:
            return _watch_lines(verbs, name, pressed)
        return _watch_bar(verbs, name, pressed)


def wait(verbs: Verbs, name: str) -> StudyView:
    """Waits until a study ends, in silence."""
    with _interrupts() as pressed:
        while (study := verbs.study(name)).state == "running":
            _pause(pressed)
        return study


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Ctrl-C sets an event instead of breaking into whatever runs."""
    pressed = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: pressed.set())
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _pause(pressed: threading.Event) -> None:
    if pressed.wait(PAUSE_SECONDS):
        raise KeyboardInterrupt


def _watch_bar(verbs: Verbs, name: str, pressed: threading.Event) -> StudyView:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[spent]}"),
        TextColumn("{task.fields[best]}"),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console) as bar:
        study = verbs.study(name)
        task = bar.add_task(name, total=1.0, spent="", best="", left="")
        while True:
            spent, best, left = spent_text(study), best_text(study), left_text(study)
            bar.update(task, completed=study.share, spent=spent, best=best, left=left)
            if study.state != "running":
                return study
            _pause(pressed)
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


def _watch_lines(verbs: Verbs, name: str, pressed: threading.Event) -> StudyView:
    shown = -1
    while True:
        study = verbs.study(name)
        if study.trials != shown:
            shown = study.trials
            parts = (f"{name}: {spent_text(study)}", best_text(study))
            console.print("  ".join(part for part in (*parts, left_text(study)) if part))
        if study.state != "running":
            return study
        _pause(pressed)
