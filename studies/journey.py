"""The whole journey through the REST API: start a study, query the front, export the winner.

python studies/journey.py studies/quickstart.yaml
"""

import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

from nas import Client
from nas.cli.backend import running_server
from nas.cli.progress import watch
from nas.cli.tables import console, front_table, spent_text
from nas.errors import NasError
from nas.inputs import read_file
from nas.settings import Settings


def main(file: Path) -> None:
    settings = Settings()
    server = None
    if not running_server(settings):  # one that runs already is used as it is
        server = subprocess.Popen([sys.executable, "-m", "nas", "serve", "--port", "0"])
    try:
        journey(file, Client(wait_for_server(settings, server)), settings)
    finally:
        if server:
            server.terminate()
            server.wait()


def wait_for_server(settings: Settings, server: subprocess.Popen[bytes] | None) -> str:
    while not (url := running_server(settings)):
        if server is None or server.poll() is not None:
            raise SystemExit("the service did not start; see above")
        time.sleep(0.1)
    return url


def journey(file: Path, client: Client, settings: Settings) -> None:
    # 1. Start a study. The key makes this safe to repeat: the same file gives the same study.
    key = sha256(file.read_bytes()).hexdigest()
    study = client.create_study(read_file(file), key=key)
    if study.state in ("stopped", "failed"):
        study = client.resume_study(study.name)
    console.rule(f"study {study.name}: {spent_text(study)}")
    study = watch(client, study.name)
    counts = ", ".join(f"{count} {state}" for state, count in study.counts.items() if count)
    console.print(f"{study.state} after {study.seconds:.0f} s: {counts}")

    # 2. Query the Pareto front.
    front = client.front(study.name)
    console.rule("Pareto front")
    console.print(front_table(front))

    # 3. Export the knee of the front as code, and run it without us.
    out = settings.home / "exports" / study.name / "winner"
    done = client.export(study.name, out=out)
    console.rule(f"trial {done.trial} as code: {out / 'model.py'}")
    subprocess.run([sys.executable, "-I", str(out / "model.py")], check=True)

    console.rule("where everything is")
    console.print(f"database  {settings.database_path}")
    console.print(f"model     {out / 'model.py'} (with architecture, weights and certificate)")
    console.print("go on     make serve, then: nas study list | nas front | nas trial list")
    console.print(f"again     nas study delete {study.name} && make run")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "studies/quickstart.yaml"))
    except NasError as error:
        raise SystemExit(f"error: {error.message}") from None
