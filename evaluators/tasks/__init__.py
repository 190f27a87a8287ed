"""Proxy tasks, found by folder as parts are: ``<kind>/spec.py`` defines one Task of that kind."""

import inspect
from functools import reduce
from importlib import import_module
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import Field

from nas.evaluators.tasks.base import Task


def _discover() -> dict[str, type[Task]]:
    found: dict[str, type[Task]] = {}
    for folder in sorted(Path(__file__).parent.iterdir()):
        if not (folder / "spec.py").exists():
            continue
        module = import_module(f"nas.evaluators.tasks.{folder.name}.spec")
        tasks = [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, Task)
            and value.__module__ == module.__name__
        ]
        if len(tasks) != 1 or tasks[0].model_fields["kind"].default != folder.name:
            raise RuntimeError(
                f"{folder.name}/spec.py must define exactly one Task with kind {folder.name!r}; "
                f"it defines {[task.__name__ for task in tasks]}"
            )
        found[folder.name] = tasks[0]
    return found


TASKS = _discover()
if TYPE_CHECKING:
    AnyTask: TypeAlias = Task
else:
    AnyTask = Annotated[reduce(or_, TASKS.values()), Field(discriminator="kind")]
