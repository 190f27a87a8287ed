"""Folders to discriminated unions: the only registry of parts.

Each folder below ``mixers/``, ``ffns/`` and so on holds exactly one concrete part in ``spec.py``,
whose ``kind`` is the folder's name. Discovery checks that, so a half-finished folder fails loudly.
Adding a part is adding a folder. A type checker sees the abstract base; pydantic sees the closed
union.
"""

import inspect
import re
from functools import reduce
from importlib import import_module
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

from pydantic import Field

from nas.search_spaces import base

_HERE = Path(__file__).parent
P = TypeVar("P", bound=base.Part)


def discover(slot: str, expected: type[P]) -> dict[str, type[P]]:
    """Kinds of one slot, sorted by name.

    Raises RuntimeError naming the folder when it does not define exactly one part of its own kind.
    """
    found: dict[str, type[P]] = {}
    for folder in sorted((_HERE / slot).iterdir()):
        if not folder.is_dir() or folder.name.startswith(("_", ".")):
            continue
        module = import_module(f"nas.search_spaces.{slot}.{folder.name}.spec")
        parts = [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, expected)
            and value.__module__ == module.__name__
        ]
        if len(parts) != 1 or parts[0].model_fields["kind"].default != folder.name:
            raise RuntimeError(
                f"{folder}/spec.py must define exactly one {expected.__name__} "
                f"with kind {folder.name!r}; it defines {[part.__name__ for part in parts]}"
            )
        found[folder.name] = parts[0]
    return found


def union(parts: dict[str, Any]) -> Any:
    """The union of some parts, told apart by ``kind``; a single part stands for itself."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    return Annotated[reduce(or_, parts.values()), Field(discriminator="kind")]


# Specs name the unions of other slots as strings, since a part and the union that holds it cannot
# import each other; `complete` fills the strings in. Leaves come first.
_UNIONS: dict[str, dict[str, Any]] = {}
NESTED_SLOTS: dict[tuple[str, str], dict[str, Any]] = {}
"""(class, field) of each field that holds a part, or a list of parts -> the parts it may hold."""
NESTED_LISTS: set[tuple[str, str]] = set()
"""Those that hold a list."""
_HELD = re.compile(r"^(?:Annotated\[)?(tuple\[)?(Any\w+)\b")


def complete(parts: dict[str, type[P]]) -> dict[str, type[P]]:
    """Resolve the fields of some parts that hold other parts."""
    unions = {name: union(found) for name, found in _UNIONS.items()}
    for part in parts.values():
        holds = False
        for name, annotation in inspect.get_annotations(part).items():
            held = _HELD.match(annotation) if isinstance(annotation, str) else None
            if held is None:
                continue
            holds = True
            NESTED_SLOTS[part.__name__, name] = _UNIONS[held[2]]
            if held[1]:
                NESTED_LISTS.add((part.__name__, name))
        if holds:  # the others are built when they are first used
            part.model_rebuild(_types_namespace=unions)
    return parts


NORMS = complete(discover("norms", base.Norm))
_UNIONS["AnyNorm"] = NORMS
HEADS = complete(discover("heads", base.Head))
POSITIONS = complete(discover("positions", base.Position))
EMBEDDINGS = complete(discover("embeddings", base.Embedding))
NORMALISERS = complete(discover("normalisers", base.Normaliser))
GATES = complete(discover("gates", base.Gate))
SCOPES = complete(discover("scopes", base.Scope))
FEATURE_MAPS = complete(discover("feature_maps", base.FeatureMap))
_UNIONS |= {
    "AnyPosition": POSITIONS,
    "AnyEmbedding": EMBEDDINGS,
    "AnyGate": GATES,
    "AnyNormaliser": NORMALISERS,
    "AnyScope": SCOPES,
    "AnyFeatureMap": FEATURE_MAPS,
}
RESIDUALS = complete(discover("residuals", base.Residual))
_UNIONS["AnyResidual"] = RESIDUALS
BLOCKS = complete(discover("blocks", base.Block))
FFNS = discover("ffns", base.FFN)
DENSE_FFNS = {kind: ffn for kind, ffn in FFNS.items() if issubclass(ffn, base.DenseFFN)}
complete(DENSE_FFNS)
_UNIONS["AnyDenseFFN"] = DENSE_FFNS
complete(FFNS)
MIXERS = discover("mixers", base.Mixer)
SIMPLE_MIXERS = {k: mixer for k, mixer in MIXERS.items() if not issubclass(mixer, base.Composite)}
complete(SIMPLE_MIXERS)
_UNIONS["AnySimpleMixer"] = SIMPLE_MIXERS
complete(MIXERS)

SLOTS: dict[str, dict[str, Any]] = {
    "blocks": BLOCKS,
    "embeddings": EMBEDDINGS,
    "feature_maps": FEATURE_MAPS,
    "ffns": FFNS,
    "gates": GATES,
    "heads": HEADS,
    "mixers": MIXERS,
    "normalisers": NORMALISERS,
    "norms": NORMS,
    "positions": POSITIONS,
    "residuals": RESIDUALS,
    "scopes": SCOPES,
}

if TYPE_CHECKING:
    AnyNorm: TypeAlias = base.Norm
    AnyPosition: TypeAlias = base.Position
    AnyEmbedding: TypeAlias = base.Embedding
    AnyGate: TypeAlias = base.Gate
    AnyNormaliser: TypeAlias = base.Normaliser
    AnyScope: TypeAlias = base.Scope
    AnyFeatureMap: TypeAlias = base.FeatureMap
    AnySimpleMixer: TypeAlias = base.Mixer
    AnyHead: TypeAlias = base.Head
    AnyResidual: TypeAlias = base.Residual
    AnyBlock: TypeAlias = base.Block
    AnyDenseFFN: TypeAlias = base.DenseFFN
    AnyFFN: TypeAlias = base.FFN
    AnyMixer: TypeAlias = base.Mixer
else:
    AnyNorm = union(NORMS)
    AnyPosition = union(POSITIONS)
    AnyEmbedding = union(EMBEDDINGS)
    AnyGate = union(GATES)
    AnyNormaliser = union(NORMALISERS)
    AnyScope = union(SCOPES)
    AnyFeatureMap = union(FEATURE_MAPS)
    AnySimpleMixer = union(SIMPLE_MIXERS)
    AnyHead = union(HEADS)
    AnyResidual = union(RESIDUALS)
    AnyBlock = union(BLOCKS)
    AnyDenseFFN = union(DENSE_FFNS)
    AnyFFN = union(FFNS)
    AnyMixer = union(MIXERS)
