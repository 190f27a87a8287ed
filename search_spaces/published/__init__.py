"""Published models written as spaces with nothing left to choose: the JSON files of this folder.

They show how a known model is written here, and hold the closed-form counts to published ones.
"""

import difflib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from nas.errors import NotFound
from nas.search_spaces.base import Model
from nas.search_spaces.space import SearchSpace

_FOLDER = Path(__file__).parent


class PublishedModel(Model):
    """A model with its published number of parameters."""

    source: str
    """The paper, and what our form of the model leaves out."""
    link: str
    params: Annotated[int, Field(strict=True, ge=1)]
    """As published: all weights, a shared one once."""
    space: dict[str, Any]
    """As a user would write it."""

    def search_space(self) -> SearchSpace:
        """The space, which holds this one model."""
        return SearchSpace.model_validate(self.space)


def published_names() -> list[str]:
    """All published models, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def published(name: str) -> PublishedModel:
    """One of them. Raises NotFound."""
    names = published_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise NotFound(
            f"no published model is called {name!r}; {hint}there are: {', '.join(names)}"
        )
    text = (_FOLDER / f"{name}.json").read_text(encoding="utf-8")
    return PublishedModel.model_validate(json.loads(text))
