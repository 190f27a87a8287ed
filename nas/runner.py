"""Studies in the background: one thread for each that runs."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nas.errors import Conflict, NasError
from nas.evaluators.base import Evaluator
from nas.store.base import Store
from nas.study import StudySpec

MakeEvaluator = Callable[[StudySpec, Path], Evaluator]


def process_evaluator(spec: StudySpec, home: Path) -> Evaluator:
    """Evaluation in worker processes, the real one."""
    from nas.evaluators.worker import ProcessEvaluator
    from nas.settings import Settings

    settings = Settings()
    return ProcessEvaluator(
        spec,
        data_dir=home,
        accept_noise=settings.accept_noise,
        capture_steps=settings.capture_steps,
    )


@dataclass
class _Run:
    thread: threading.Thread
    stop: threading.Event = field(default_factory=threading.Event)


class Runner:
    """Starts, stops and waits for studies. Thread-safe."""

    def __init__(
        self, store: Store, home: Path, make_evaluator: MakeEvaluator = process_evaluator
    ) -> None:
        self.store = store
        self.home = home
        self.make_evaluator = make_evaluator
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()

    def start(self, spec: StudySpec) -> None:
        """Runs a study in its own thread, from wherever the store says it is."""
        with self._lock:
            if spec.name in self._runs:
                raise Conflict(f"study {spec.name!r} is running already")
            thread = threading.Thread(
                target=self._run, args=(spec,), name=f"study-{spec.name}", daemon=True
            )
            self._runs[spec.name] = _Run(thread)
        thread.start()

    def running(self) -> tuple[str, ...]:
        """Names of the studies that run now."""
        with self._lock:
            return tuple(self._runs)

    def stop(self, name: str, *, seconds: float = 60.0) -> None:
        """Asks a study to stop and waits for it."""
        with self._lock:
            run = self._runs.get(name)
        if run:
            run.stop.set()
            run.thread.join(seconds)

    def wait(self, name: str, *, seconds: float | None = None) -> None:
        """Waits until a study has ended, or for so long."""
        with self._lock:
            run = self._runs.get(name)
        if run:
            run.thread.join(seconds)

    def close(self) -> None:
        """Stops all studies; they stay resumable."""
        with self._lock:
            runs = list(self._runs.values())
        for run in runs:
            run.stop.set()
        for run in runs:
            run.thread.join(60.0)

    def _run(self, spec: StudySpec) -> None:
        from nas.driver import Driver
        from nas.driver.foreseeing import ComposedTimes
        from nas.driver.sampling import sampler_of
        from nas.keeping import WeightKeeper
        from nas.warmstart import freeze

        run = self._runs[spec.name]
        try:
            freeze(self.store, spec)
            times = ComposedTimes(spec)
            sampler = sampler_of(spec, times)
            evaluator = self.make_evaluator(spec, self.home)
            try:
                keeper = WeightKeeper(self.store, spec, self.home)
                driver = Driver(
                    spec,
                    sampler,
                    evaluator,
                    self.store,
                    stop=run.stop,
                    on_event=keeper.on_event,
                    times=times,
                )
                state, reason = driver.run()
            finally:
                evaluator.close()
            self.store.set_state(spec.name, state, reason)
        except Exception as error:  # the study ends here; the service and other studies go on
            text = error.message if isinstance(error, NasError) else repr(error)
            self.store.set_state(spec.name, "failed", text)
        finally:
            with self._lock:
                del self._runs[spec.name]
