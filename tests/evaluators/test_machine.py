"""What is recorded about the machine, and what is decided from it."""

from pathlib import Path

import pytest

import nas
from nas.evaluators import machine, precision

HASH = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(nas, "__file__", str(tmp_path / "nas" / "__init__.py"))
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_an_installed_package_has_no_commit(checkout: Path) -> None:
    assert machine.commit() is None
    assert "commit" not in machine.environment()


def test_a_detached_head_is_the_commit(checkout: Path) -> None:
    write(checkout / ".git/HEAD", f"{HASH}\n")
    assert machine.commit() == HASH


def test_a_branch_is_followed_loose_and_packed(checkout: Path) -> None:
    write(checkout / ".git/HEAD", "ref: refs/heads/main\n")
    assert machine.commit() is None
    write(checkout / ".git/packed-refs", f"# pack-refs\n{HASH[::-1]} refs/heads/main\n")
    assert machine.commit() == HASH[::-1]
    write(checkout / ".git/refs/heads/main", f"{HASH}\n")
    assert machine.commit() == HASH


def test_a_linked_worktree_finds_the_shared_branch(checkout: Path) -> None:
    shared = checkout / "main.git"
    write(checkout / ".git", f"gitdir: {shared}/worktrees/here\n")
    write(shared / "worktrees/here/HEAD", "ref: refs/heads/topic\n")
    write(shared / "worktrees/here/commondir", "../..\n")
    write(shared / "refs/heads/topic", f"{HASH}\n")
    assert machine.commit() == HASH


def test_the_environment_names_what_computes() -> None:
    found = machine.environment()
    assert found["versions"]["nas"] == nas.__version__
    assert "torch" in found["versions"]
    assert found["machine"]["cores"] == machine.cores() >= 1


@pytest.mark.parametrize(
    ("flags", "dim", "expected"),
    [
        ({"amx_bf16", "avx512_bf16"}, 192, True),
        ({"amx_bf16", "avx512_bf16"}, 128, False),
        ({"avx512_bf16"}, 1024, False),
        (set(), 1024, False),
    ],
)
def test_bfloat16_is_used_where_it_pays(
    flags: set[str], dim: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset(flags))
    assert precision.uses_bfloat16(dim, "cpu") is expected
