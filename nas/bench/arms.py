"""Which samplers are compared: those of a study by their names, and libraries run plainly."""

from collections.abc import Collection, Sequence
from importlib.util import find_spec

from pydantic import ValidationError

from nas.bench.ax_peer import AX
from nas.bench.knowledge import TableKnowledge
from nas.bench.peers import PEERS, make_peer
from nas.bench.running import Rules
from nas.bench.table import Row, Table
from nas.errors import BadInput
from nas.samplers import make_sampler
from nas.samplers.base import Sampler
from nas.samplers.surrogate.ingredients import WITHOUT
from nas.study import NAS_SAMPLERS, NEVERGRAD_SAMPLERS, OPTUNA_SAMPLERS, DriverSpec

OWN = (
    "uniform",
    *(f"nas.{name}" for name in NAS_SAMPLERS),
    *(f"optuna.{name}" for name in OPTUNA_SAMPLERS),
    *(f"nevergrad.{name}" for name in NEVERGRAD_SAMPLERS),
)
"""Every sampler that a study can name."""
WHOLE = "nas.surrogate"
ABLATED = {f"{WHOLE}-without-{name}": ingredients for name, ingredients in WITHOUT.items()}
"""The surrogate with one of its ingredients left out, by name; no study can name these."""
GROUPS = {"own": OWN, "peers": PEERS, "ablation": (WHOLE, *ABLATED)}


def parse_arms(given: Sequence[str]) -> tuple[str, ...]:
    """Names of samplers, each once, with groups written out. Raises BadInput for one that does not
    exist."""
    if not given:
        raise BadInput.at("samplers", "none is named", accepted=", ".join((*OWN, *PEERS, *GROUPS)))
    named = (arm for name in given for arm in GROUPS.get(name, (name,)))
    return tuple(dict.fromkeys(_full_name(arm) for arm in named))


def make_arm(
    arm: str, table: Table, rules: Rules, seed: int, cheap: Collection[str] = ()
) -> Sampler[Row]:
    """A fresh sampler. `cheap` are the objectives that are known before an evaluation; what takes
    no knowledge does without."""
    if arm in PEERS:
        return make_peer(arm, table, rules, seed)
    if arm in ABLATED:
        from nas.samplers.surrogate.sampler import SurrogateSampler

        return SurrogateSampler(
            table,
            objectives=table.objectives,
            seed=seed,
            knowledge=TableKnowledge(table, cheap),
            ingredients=ABLATED[arm],
        )
    driver = _driver(arm, rules.workers)
    assert driver is not None  # `parse_arms` has seen it
    return _own(driver, table, rules, seed, TableKnowledge(table, cheap))


def missing_library(arm: str) -> str | None:
    """Why a sampler cannot be run here, or None if it can."""
    if arm == AX and find_spec("ax") is None:
        return "ax-platform is not installed"
    return None


def _own(
    driver: DriverSpec, table: Table, rules: Rules, seed: int, knowledge: TableKnowledge
) -> Sampler[Row]:
    """A sampler as a study makes it."""
    return make_sampler(
        driver,
        table,
        table.objectives,
        seed,
        rules.evaluations,
        constrained=False,
        knowledge=knowledge,
    )


def _full_name(arm: str) -> str:
    """The name with its sampler: ``optuna`` alone is its default, as in a study."""
    if arm in PEERS or arm in ABLATED:
        return arm
    driver = _driver(arm, 1)
    if driver is None:
        raise BadInput.at(
            "samplers",
            "there is no such sampler",
            given=arm,
            accepted=", ".join((*OWN, *PEERS, *GROUPS)),
        )
    alone = driver.library == driver.sampler
    return driver.library if alone else f"{driver.library}.{driver.sampler}"


def _driver(arm: str, workers: int) -> DriverSpec | None:
    """What a study would say, or None where there is no such sampler."""
    library, _, sampler = arm.partition(".")
    try:
        return DriverSpec.model_validate(
            {"library": library, "sampler": sampler or None, "workers": workers}
        )
    except ValidationError:
        return None
