"""The catalogue as data and as a page."""

from pathlib import Path

import pytest

import nas.search_spaces.listing as listing
from nas.errors import NotFound
from nas.search_spaces.catalogue import SLOTS
from nas.search_spaces.listing import CatalogueEntry, entries, page

PAGE = Path(listing.__file__).parent / "CATALOGUE.md"


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "run: python -m nas.search_spaces.listing > search_spaces/CATALOGUE.md"
    )


def test_every_part_is_listed_once() -> None:
    listed = [(entry.slot, entry.kind) for entry in entries()]
    assert listed == [(slot, kind) for slot, parts in SLOTS.items() for kind in parts]


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: f"{entry.slot}/{entry.kind}")
def test_an_entry_says_all_that_a_form_needs(entry: CatalogueEntry) -> None:
    assert entry.doc
    assert entry.families
    assert entry.papers
    assert all(paper.link.startswith("https://") and paper.title for paper in entry.papers)
    assert set(entry.example) <= set(entry.json_schema["properties"])
    named = [field.name for field in entry.fields]
    assert named == [name for name in entry.json_schema["properties"] if name != "kind"]
    required = {field.name for field in entry.fields if field.required}
    assert required <= set(entry.example)
    assert CatalogueEntry.model_validate_json(entry.model_dump_json()) == entry


def test_one_slot() -> None:
    assert {entry.kind for entry in entries("norms")} == set(SLOTS["norms"])
    (rms,) = (entry for entry in entries("norms") if entry.kind == "rms")
    assert rms.fields == ()
    attention = next(entry for entry in entries("mixers") if entry.kind == "attention")
    assert "groups must divide heads" in attention.rules
    scope = next(entry for entry in entries("scopes") if entry.kind == "window")
    (window,) = scope.fields
    assert window.accepts == "a whole number from 1 to 1000000"
    assert window.doc == "Keys a query may see, itself included; in an encoder, on each side."


def test_an_unknown_slot_names_the_others() -> None:
    with pytest.raises(NotFound, match="did you mean 'mixers'"):
        entries("mixer")
