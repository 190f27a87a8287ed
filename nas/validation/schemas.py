"""Pydantic's own schema of a model: walked along the location of an error, and put into words.

A location names the branches of unions as well as keys of the input; the schema tells them apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pydantic import BaseModel, TypeAdapter

Schema: TypeAlias = dict[str, Any]
Location: TypeAlias = Sequence[str | int]

_WRAPPERS = {
    "default": "schema",
    "definitions": "schema",
    "function-after": "schema",
    "function-before": "schema",
    "function-wrap": "schema",
    "json-or-python": "python_schema",
    "lax-or-strict": "lax_schema",
    "model": "schema",
}
FORMS = {
    "choice": '{"choice": [...]}',
    "range": '{"range": [low, high]}',
    "times": '{"times": number, "of": name}',
    "divide": '{"divide": name, "by": name or number}',
    "match_params": '{"match_params": number}',
}
"""How a field of a space asks a question instead of holding a value."""


@dataclass(frozen=True)
class Spot:
    """Where a location leads."""

    keys: tuple[str | int, ...]
    """The location without the names of union branches: keys and indices of the input."""
    schema: Schema | None
    """What is expected there; None where the schema knows no such place."""
    branches: tuple[tuple[int, Schema], ...] = ()
    """For each untagged union on the way: how far into the location it stands, and its schema."""


@dataclass
class Shape:
    """The schema of one model."""

    root: Schema
    definitions: dict[str, Schema] = field(default_factory=dict)

    @classmethod
    def of(cls, model: type[BaseModel]) -> "Shape":
        """The schema that pydantic validates with."""
        root: Any = TypeAdapter(model).core_schema
        return cls(root, {entry["ref"]: entry for entry in root.get("definitions", ())})

    def unwrap(self, schema: Schema, *, nullable: bool = False) -> Schema:
        """The schema below defaults, validators and references; with `nullable` below those too."""
        while True:
            kind = schema["type"]
            if kind == "definition-ref":
                schema = self.definitions[schema["schema_ref"]]
            elif kind in _WRAPPERS:
                schema = schema[_WRAPPERS[kind]]
            elif kind == "chain":
                schema = schema["steps"][0]
            elif kind == "nullable" and nullable:
                schema = schema["schema"]
            else:
                return schema

    def walk(self, location: Location) -> Spot:
        """Follows a location from the root as far as the schema goes."""
        return self._walk(self.root, tuple(location), 0)

    def _walk(self, schema: Schema, location: tuple[str | int, ...], done: int) -> Spot:
        if done == len(location):
            return Spot((), schema)
        here, rest = location[done], location[done + 1 :]
        inner = self.unwrap(schema, nullable=True)
        if inner["type"] == "union":
            return self._branch(inner, location, done)
        if inner["type"] == "tagged-union":
            chosen = inner["choices"].get(here)
            if chosen is None:
                return Spot((here, *rest), None)
            if not rest and here == "value":  # the other forms would do as well: stay at the union
                return Spot((), schema)
            return self._walk(chosen, location, done + 1)
        child = self._child(inner, here)
        if child is None:
            return Spot((here, *rest), None)
        spot = self._walk(child, location, done + 1)
        return Spot((here, *spot.keys), spot.schema, spot.branches)

    def _branch(self, union: Schema, location: tuple[str | int, ...], done: int) -> Spot:
        """An untagged union: its branches have no dependable names, so the one that fits counts."""
        found = [self._walk(s, location, done + 1) for s in choices(union)]
        fitting = [spot for spot in found if spot.schema is not None]
        best = fitting[0] if fitting else found[0]
        if done + 1 == len(location):
            best = Spot((), union)
        return Spot(best.keys, best.schema, ((done, union), *best.branches))

    def _child(self, schema: Schema, key: str | int) -> Schema | None:
        if schema["type"] == "model-fields" and key in schema["fields"]:
            return self._of_field(schema["fields"][key])
        if schema["type"] == "tuple" and isinstance(key, int):
            items: list[Schema] = schema["items_schema"]
            return items[min(key, len(items) - 1)]
        if schema["type"] == "list" and isinstance(key, int):
            return schema.get("items_schema")
        return schema.get("values_schema") if schema["type"] == "dict" else None

    def _of_field(self, field: Schema) -> Schema:
        """A field's schema; a pattern that its field describes is known by that description."""
        schema: Schema = field["schema"]
        text = described_in(field)
        if text and self.unwrap(schema)["type"] == "str" and "pattern" in self.unwrap(schema):
            updates = {"pydantic_js_updates": {"description": text}}
            return {**self.unwrap(schema), "metadata": updates}
        return schema

    def fields(self, schema: Schema | None) -> tuple[str, ...]:
        """Names of the fields where a model is expected."""
        inner = self.unwrap(schema, nullable=True) if schema else {"type": "unknown"}
        return tuple(inner["fields"]) if inner["type"] == "model-fields" else ()

    def kinds(self, schema: Schema | None) -> tuple[str, ...]:
        """Kinds among which a tagged union distinguishes, its further forms left out."""
        inner = self.unwrap(schema, nullable=True) if schema else {"type": "unknown"}
        if inner["type"] == "union":
            return tuple(kind for choice in choices(inner) for kind in self.kinds(choice))
        if inner["type"] != "tagged-union" or "value" in inner["choices"]:
            return ()
        return tuple(sorted(str(tag) for tag in inner["choices"] if tag not in FORMS))

    def forms(self, schema: Schema | None) -> tuple[str, ...]:
        """The forms of a question that are accepted in place of a value or a part."""
        inner = self.unwrap(schema, nullable=True) if schema else {"type": "unknown"}
        found: Any = inner["choices"] if inner["type"] == "tagged-union" else ()
        return tuple(form for form in FORMS if form in found)

    # Words -----------------------------------------------------------------------------------

    def words(self, schema: Schema) -> str:
        """What is accepted, in words: ``a whole number from 1 to 64``."""
        inner = self.unwrap(schema)
        described: str | None = described_in(inner)
        if described:
            return described
        kind = inner["type"]
        if kind == "nullable":
            return f"{self.words(inner['schema'])}, or null"
        if kind in ("union", "tagged-union"):
            return self._union_words(inner)
        if kind in ("tuple", "list"):
            return self._list_words(inner)
        if kind == "model-fields":
            return f"an object with the fields {', '.join(inner['fields'])}"
        if kind == "literal":
            return one_of(inner["expected"])
        plain = {"int": "a whole number", "float": "a number", "bool": "true or false"}
        plain |= {"str": "text", "dict": "an object", "none": "null"}
        return plain.get(kind, "another value") + _bounds(inner)

    def _union_words(self, union: Schema) -> str:
        forms = " or ".join(FORMS[form] for form in self.forms(union))
        if "value" in union["choices"]:
            return f"{self.words(union['choices']['value'])}; or, to search, {forms}"
        if union["type"] == "tagged-union":
            text = f'an object with "kind": {one_of(self.kinds(union))}'
            return f"{text}; or, to search, {forms}" if forms else text
        found = [self.words(choice) for choice in choices(union)]
        if "a whole number" in found and "a number" in found:
            found.remove("a whole number")
        return ", or ".join(dict.fromkeys(found))

    def _list_words(self, schema: Schema) -> str:
        items = schema["items_schema"]
        if schema["type"] == "tuple" and "variadic_item_index" not in schema:
            return f"a list of {len(items)}: {', '.join(self.words(item) for item in items)}"
        item = self.words(items[0] if isinstance(items, list) else items)
        low, high = schema.get("min_length"), schema.get("max_length")
        size = ""
        if low is not None or high is not None:
            size = f" of {low or 0}{f' to {high}' if high is not None else ' or more'} items"
        return f"a list{size}, each {item}"


def choices(union: Schema) -> Iterator[Schema]:
    """The branches of an untagged union."""
    for choice in union["choices"]:
        yield choice[0] if isinstance(choice, tuple) else choice


def described_in(schema: Schema) -> str | None:
    """The description that a type carries itself, if it does."""
    updates = schema.get("metadata", {}).get("pydantic_js_updates") or {}
    text: str | None = updates.get("description")
    return text


def one_of(options: Sequence[Any]) -> str:
    """``a``, or ``one of a, b, c``."""
    listed = ", ".join(str(option) for option in options)
    return listed if len(options) == 1 else f"one of {listed}"


def _bounds(schema: Schema) -> str:
    low, high = schema.get("ge"), schema.get("le")
    parts = []
    if low is not None and high is not None:
        parts.append(f" from {low:} to {high:}")
    else:
        signs = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
        limits = [f"{sign} {schema[name]:g}" for name, sign in signs if name in schema]
        parts += [" " + " and ".join(limits)] if limits else []
    if "multiple_of" in schema:
        parts.append(f", a multiple of {schema['multiple_of']}")
    if "pattern" in schema:
        parts.append(f" that matches {schema['pattern']}")
    return "".join(parts)
