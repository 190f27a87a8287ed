"""Neural architecture search for transformer-like models, as a service.

Start a study, query the Pareto front, export the winner as code::

    from nas import Client

    client = Client("http://127.0.0.1:8731")
    study = client.create_study({"name": "first", ...})
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]

if TYPE_CHECKING:
    from nas.client import Client


def __getattr__(name: str) -> Any:
    """Imports the client on first use, so that `import nas` costs nothing."""
    if name == "Client":
        from nas.client import Client

        return Client
    raise AttributeError(f"module 'nas' has no attribute {name!r}")
