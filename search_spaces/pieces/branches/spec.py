"""What mixers made of several others cost."""

from collections.abc import Sequence

from nas.search_spaces.base import Memory, Mixer, Place


def memory_of_all(mixers: Sequence[Mixer], at: Place) -> Memory:
    """What several mixers carry together."""
    return Memory(more=tuple(mixer.memory(at) for mixer in mixers))
