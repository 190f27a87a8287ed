"""What a user sent, checked: every mistake with its path, what was given and what would work.

All input (files, requests, command lines) comes through ``parse``.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from nas.errors import BadInput, Problem
from nas.validation.schemas import Schema, Shape, Spot

M = TypeVar("M", bound=BaseModel)
Error: TypeAlias = Mapping[str, Any]
Keys: TypeAlias = tuple[str | int, ...]

_LONGEST_GIVEN = 160
"""Characters; a longer value is not repeated to the user."""
_PREFIXED = re.compile(r"(?P<path>[A-Za-z_]\w*(?:\.\w+)*): (?P<message>.+)", re.DOTALL)
"""How our validators name the field that they complain about: ``objectives.0.metric: message``."""
_ADVICE = re.compile(
    r"(?P<message>.+?); (?:there are|it has|accepted): (?P<accepted>.+)", re.DOTALL
)
_MISSING: Any = object()
_KIND_ERRORS = ("kind", "union_tag_invalid", "union_tag_not_found")
_TYPES = {
    "bool": "true or false",
    "dict": "an object",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "an object",
    "string": "text",
    "tuple": "a list",
}
_SAYS = {
    "finite_number": "must be finite",
    "greater_than": "is too small",
    "greater_than_equal": "is too small",
    "less_than": "is too large",
    "less_than_equal": "is too large",
    "literal_error": "is not one of the accepted values",
    "missing": "is missing",
    "string_pattern_mismatch": "does not have the accepted form",
    "string_too_long": "is too long",
    "string_too_short": "is too short",
    "too_long": "has too many items",
    "too_short": "has too few items",
}


def parse(model: type[M], data: Any, *, at: str = "") -> M:
    """`data` as a `model`. Raises BadInput with one Problem for each mistake; their paths start
    with `at`."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = problems(error.errors(include_url=False), Shape.of(model), data, at)
    if len(found) == 1:
        raise BadInput(str(found[0]), found)
    listed = "".join(f"\n  {problem}" for problem in found)
    raise BadInput(f"{len(found)} mistakes:{listed}", found)


def problems(errors: Iterable[Error], shape: Shape, data: Any, at: str = "") -> tuple[Problem, ...]:
    """One Problem for each mistake, in the order of the input's schema."""
    located = [(error, shape.walk(error["loc"])) for error in errors if not _is_echo(error)]
    found: dict[tuple[str, str], Problem] = {}
    for error, spot in _meant(located):
        problem = _Mistake(error, spot, shape, data).problem(at)
        found.setdefault((problem.path, problem.message), problem)
    return tuple(found.values())


def problems_of(errors: Iterable[Error], data: Any) -> tuple[Problem, ...]:
    """The same for the errors of a web framework, which come without a model: the first element
    of a location is where a value came from (body, query, path), the rest is the path."""
    unplaced = [{**error, "loc": tuple(error["loc"])[1:]} for error in errors]
    return problems(unplaced, Shape({"type": "any"}), data)


def did_you_mean(given: Any, options: Iterable[str]) -> str:
    """``; did you mean 'x'?`` where an option is close to the text that was given, else nothing."""
    if not isinstance(given, str):
        return ""
    near = difflib.get_close_matches(given, list(options), 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _is_echo(error: Error) -> bool:
    """A list whose items all failed is also called too short; that is not a mistake of its own."""
    if error["type"] != "too_short":
        return False
    return isinstance(error["input"], Sequence) and (
        len(error["input"]) >= error["ctx"]["min_length"]
    )


# Untagged unions: every branch complains; the user meant one of them --------------------------


def _meant(located: list[tuple[Error, Spot]]) -> list[tuple[Error, Spot]]:
    """Of each untagged union only the complaints of the branch that the input looks like."""
    unions: dict[Keys, dict[str, list[tuple[Error, Spot]]]] = {}
    for error, spot in located:
        for depth, _ in spot.branches[:1]:
            branches = unions.setdefault(tuple(error["loc"][:depth]), {})
            branches.setdefault(str(error["loc"][depth]), []).append((error, spot))
    kept = [item for item in located if not item[1].branches]
    for prefix, branches in unions.items():
        kept.extend(_likeliest(branches, len(prefix)))
    return kept


def _likeliest(
    branches: dict[str, list[tuple[Error, Spot]]], depth: int
) -> list[tuple[Error, Spot]]:
    fitting = {
        label: items
        for label, items in branches.items()
        if not any(_wrong_type(error, depth) for error, _ in items)
    }
    if fitting:
        return min(fitting.values(), key=len)
    error, spot = next(iter(branches.values()))[0]  # none looks like it: say so once
    union = spot.branches[0][1]
    return [({**error, "type": "union_type", "loc": error["loc"][:depth]}, Spot(spot.keys, union))]


def _wrong_type(error: Error, depth: int) -> bool:
    at_root = len(error["loc"]) == depth + 1
    return at_root and (error["type"].endswith("_type") or error["type"].endswith("_parsing"))


# One mistake -----------------------------------------------------------------------------------


class _Mistake:
    """One error of pydantic's, about to become a Problem."""

    def __init__(self, error: Error, spot: Spot, shape: Shape, data: Any) -> None:
        self.error = error
        self.kind = str(error["type"])
        self.spot = spot
        self.shape = shape
        self.keys = spot.keys
        self.given = _look_up(data, spot.keys)
        if self.given is _MISSING and self.kind != "missing":
            self.given = error["input"]

    def problem(self, at: str) -> Problem:
        """The mistake as the user is told of it."""
        message, accepted = self._explain()
        path = ".".join(str(key) for key in ((at, *self.keys) if at else self.keys))
        if not path:
            message = f"the whole input: {message}"
        return Problem(path, message, _shown(self.given), accepted)

    def _explain(self) -> tuple[str, str | None]:
        """Message and what would be accepted; may move the path to the field that is meant."""
        if self.kind == "extra_forbidden":
            return self._unknown_field()
        if self.kind in _KIND_ERRORS:
            return self._unknown_kind()
        if self.kind == "rule":
            return self._broken_rule()
        if self.kind == "value_error":
            return self._refused()
        if self.kind == "json_invalid":
            where, self.keys, self.given = self.keys[-1], (), _MISSING
            return f"is not JSON: {self.error['ctx']['error']} at character {where}", "JSON"
        return self._unfit()

    def _unknown_field(self) -> tuple[str, str | None]:
        fields = self.shape.fields(self.shape.walk(self.error["loc"][:-1]).schema)
        name = str(self.keys[-1])
        accepted = f"the fields {', '.join(fields)}" if fields else None
        return f"there is no such field{did_you_mean(name, fields)}", accepted

    def _unknown_kind(self) -> tuple[str, str | None]:
        schema, given = self.spot.schema, self.given
        kinds, accepted = self.shape.kinds(schema), self._accepted(schema)
        if not isinstance(given, Mapping):
            return f"has the wrong type, {_type_words(given)}{self._question()}", accepted
        self.keys = (*self.keys, "kind")
        self.given = given.get("kind", _MISSING)
        forms = self.shape.forms(schema)
        if self.given is _MISSING:
            near = [hint for key in given if (hint := did_you_mean(key, forms))]
            return f"is missing{near[0] if near else ''}", accepted
        return f"there is no such kind{did_you_mean(self.given, kinds)}", accepted

    def _broken_rule(self) -> tuple[str, str | None]:
        context = self.error["ctx"]
        if isinstance(self.given, Mapping):
            names = [name for name in context["fields"] if name in self.given]
            self.given = {name: self.given[name] for name in names}
        return "these values do not go together", str(context["accepted"])

    def _refused(self) -> tuple[str, str | None]:
        """A validator of ours: it may name the field, and say what there is instead."""
        message, accepted = str(self.error["ctx"]["error"]), None
        if (named := _PREFIXED.fullmatch(message)) and self._knows(named["path"]):
            inner = tuple(int(k) if k.isdigit() else k for k in named["path"].split("."))
            self.given = _look_up(self.given, inner)
            self.keys, message = (*self.keys, *inner), named["message"]
        if advice := _ADVICE.fullmatch(message):
            message, accepted = advice["message"], advice["accepted"]
            message += did_you_mean(self.given, accepted.split(", "))
        return message, accepted

    def _knows(self, path: str) -> bool:
        first = path.split(".")[0]
        given = isinstance(self.given, Mapping) and first in self.given
        return given or first in self.shape.fields(self.spot.schema)

    def _unfit(self) -> tuple[str, str | None]:
        """A value of the wrong type or outside its bounds."""
        schema = self.spot.schema
        accepted = self._accepted(schema)
        if self.kind == "literal_error":
            options = [option.strip(" '") for option in self.error["ctx"]["expected"].split(",")]
            return _SAYS[self.kind] + did_you_mean(self.given, options), accepted
        if self.kind == "multiple_of":
            return f"is not a multiple of {self.error['ctx']['multiple_of']}", accepted
        if self.kind in _SAYS:
            return _SAYS[self.kind], accepted
        if self.kind.endswith(("_type", "_parsing", "_from_float")):
            return f"has the wrong type, {_type_words(self.given)}{self._question()}", accepted
        message = str(self.error["msg"])
        return message[:1].lower() + message[1:], accepted

    def _question(self) -> str:
        """How to write what the user may have wanted."""
        forms = self.shape.forms(self.spot.schema)
        if isinstance(self.given, str) and self.given in self.shape.kinds(self.spot.schema):
            return f"; write {json.dumps({'kind': self.given})}"
        if isinstance(self.given, list | tuple) and "choice" in forms and len(self.given) > 1:
            listed = json.dumps(list(self.given), default=str)
            listed = listed if len(listed) <= _LONGEST_GIVEN else "[...]"
            return f'; to search over these write {{"choice": {listed}}}'
        if isinstance(self.given, Mapping):
            return next((h for key in self.given if (h := did_you_mean(key, forms))), "")
        return ""

    def _accepted(self, schema: Schema | None) -> str | None:
        return _from_context(self.error) if schema is None else self.shape.words(schema)


def _from_context(error: Error) -> str | None:
    """What would be accepted, as far as the error itself tells."""
    context = error.get("ctx", {})
    if "expected" in context:
        return str(context["expected"])
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    limits = [f"a value {signs[name]} {context[name]}" for name in signs if name in context]
    return limits[0] if limits else _TYPES.get(str(error["type"]).split("_")[0])


def _look_up(data: Any, keys: Keys) -> Any:
    for key in keys:
        in_list = isinstance(data, list | tuple) and isinstance(key, int) and 0 <= key < len(data)
        if not in_list and not (isinstance(data, Mapping) and key in data):
            return _MISSING
        data = data[key]
    return data


def _shown(given: Any) -> Any:
    """What is repeated to the user: plain data, and not much of it."""
    if given is _MISSING or isinstance(given, BaseModel):
        return None
    return given if len(repr(given)) <= _LONGEST_GIVEN else None


def _type_words(given: Any) -> str:
    if given is None or given is _MISSING:
        return "null"
    if isinstance(given, bool):
        return "true or false"
    if isinstance(given, Mapping):
        return "an object"
    if isinstance(given, list | tuple):
        return "a list"
    names = {int: "a whole number", float: "a decimal number", str: "text"}
    return names.get(type(given), type(given).__name__)
