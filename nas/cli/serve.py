"""`nas serve`: the REST API on one address, with the database open in this process."""

import json
import os
import socket

from nas.errors import BadInput, Unavailable
from nas.runner import MakeEvaluator, Runner, process_evaluator
from nas.settings import Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(settings: Settings, make_evaluator: MakeEvaluator = process_evaluator) -> None:
    """Serves until interrupted. Raises Unavailable when the address is taken, BadInput when it is
    open to others and no token is set."""
    import uvicorn

    from nas.api.app import create_app
    from nas.service import Service
    from nas.store.duckdb import DuckDBStore

    if settings.host not in LOOPBACK and settings.token is None:
        raise BadInput.at(
            "host",
            "others could reach the service without a token",
            given=settings.host,
            accepted="127.0.0.1, or any address with NAS_TOKEN set",
        )
    listening = _bind(settings.host, settings.port)
    store = DuckDBStore(settings.database_path)
    host, port = listening.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    app = create_app(Service(store, settings, Runner(store, settings.home, make_evaluator)))
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5)
    settings.address_file.write_text(json.dumps({"url": url, "pid": os.getpid()}))
    print(f"nas serves {settings.database_path} at {url} (documentation: {url}/docs)", flush=True)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        settings.address_file.unlink(missing_ok=True)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)  # before the address is told: whoever comes early waits in line
    except OSError as error:
        listening.close()
        raise Unavailable(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another with --port, "
            "or 0 for any free one"
        ) from None
    return listening
