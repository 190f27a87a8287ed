"""Every part of the catalogue that an encoder may use."""

from typing import Any

from nas.search_spaces.spaces.everything import whole_family


def everything_encoder() -> dict[str, Any]:
    """All parts of encoders, as `everything` has those of language models."""
    return whole_family("encoder")
