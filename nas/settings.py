"""Where the service keeps its data and where it listens: ``NAS_*`` environment variables."""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Each field is read from the variable ``NAS_<FIELD>``."""

    model_config = SettingsConfigDict(env_prefix="NAS_", extra="ignore")

    home: Path = Path("nas-data")
    """Folder of the database, trained weights and exports."""
    database: Path | None = None
    """The DuckDB file; None is ``nas.duckdb`` in `home`."""
    host: str = "127.0.0.1"
    port: int = 8731
    """0 takes any free port."""
    server: str | None = None
    """URL of a running server that the command line should talk to."""
    token: SecretStr | None = None
    """When set, every request but /health must carry it as a bearer token."""

    accept_noise: bool = False
    """Whether times are taken however busy the machine is, instead of being refused; each record
    says so. For trying things out: such times are no evidence."""

    capture_steps: bool = True
    """Whether training steps on a GPU are captured once and replayed; false runs them operation by
    operation, which is slower, for finding out whether a fault lies in the capture."""

    @property
    def database_path(self) -> Path:
        """The DuckDB file."""
        return self.database or self.home / "nas.duckdb"

    @property
    def address_file(self) -> Path:
        """Where a running server writes its address, so that others find it."""
        path = self.database_path
        return path.with_name(path.name + ".server.json")
