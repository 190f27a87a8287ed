"""Text as documents: rows without padding, nothing read across, files held out whole."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nas.errors import BadInput
from nas.evaluators.schedule import Batching
from nas.evaluators.tasks.text.data import load
from nas.evaluators.tasks.text.documents import DocumentData
from nas.evaluators.tasks.text.spec import Text
from nas.evaluators.train import train
from nas.plan import execute
from tests.contracts.architectures import architecture_with
from tests.contracts.instances import MIXERS

CONTEXT = 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 files, of 0 to 57 bytes; no byte is in two files."""
    for index in range(20):
        text = chr(0x20 + index) * (3 * index)
        (tmp_path / f"{index:02}.txt").write_text(text)
    return tmp_path


def opened(folder: Path, seed: int = 0) -> DocumentData:
    data = Text(corpus=str(folder), context=CONTEXT, test_share=0.2, documents=True).open(seed)
    assert isinstance(data, DocumentData)
    return data


def test_files_are_found_in_the_text(folder: Path, tmp_path: Path) -> None:
    for cache in (None, tmp_path / "cache"):
        loaded = load(str(folder), cache)
        assert loaded.files == 20
        firsts = [chr(byte) for byte in loaded.text[loaded.file_starts]]
        assert firsts == [chr(0x20 + index) for index in range(1, 20)]  # the first file is empty


def test_rows_are_filled_with_documents_of_one_file(folder: Path) -> None:
    data = opened(folder)
    for batch in (data.train_batch(0, 6), *data.test_batches(2)):
        tokens, targets, lengths = batch
        assert tokens.shape == targets.shape == (len(lengths), CONTEXT)
        for row, wanted, sizes in zip(tokens, targets, lengths, strict=True):
            assert sum(sizes) == CONTEXT
            for document, next_bytes in zip(
                row.split(list(sizes)), wanted.split(list(sizes)), strict=True
            ):
                assert len({*document.tolist(), *next_bytes.tolist()}) == 1  # one byte to a file


def test_files_are_held_out_whole(folder: Path) -> None:
    data = opened(folder)
    trained = {byte for index in range(50) for byte in data.train_batch(index, 4)[0].unique()}
    tested = {byte for tokens, _, _ in data.test_batches(3) for byte in tokens.unique()}
    seen, held_out = ({int(byte) for byte in found} for found in (trained, tested))
    assert not seen & held_out
    assert len(seen) + len(held_out) == 19  # all but the empty one
    assert len(held_out) == 4


def test_batches_depend_on_seed_and_index_alone(folder: Path) -> None:
    first, again, other = opened(folder), opened(folder), opened(folder, seed=1)
    assert torch.equal(first.train_batch(3, 4)[0], again.train_batch(3, 4)[0])
    assert not torch.equal(first.train_batch(3, 4)[0], first.train_batch(4, 4)[0])
    assert not torch.equal(first.train_batch(3, 4)[0], other.train_batch(3, 4)[0])
    for mine, theirs in zip(first.test_batches(2), other.test_batches(2), strict=True):
        assert torch.equal(mine[0], theirs[0])


def test_every_byte_with_a_successor_is_in_some_document(folder: Path) -> None:
    data = opened(folder)
    places = [
        np.arange(start, start + tokens)
        for pieces in (data.train, data.test)
        for start, tokens in zip(pieces.starts, pieces.tokens, strict=True)
    ]
    found = np.concatenate(places)
    assert len(found) == len(np.unique(found)) == sum(3 * index - 1 for index in range(1, 20))


def test_one_file_cannot_be_split(tmp_path: Path) -> None:
    (tmp_path / "only.txt").write_text("a line of text\n" * 40)
    task = Text(corpus=str(tmp_path), context=CONTEXT, documents=True)
    for asked in (task.check, lambda: task.open(0)):
        with pytest.raises(BadInput, match="no two files") as caught:
            asked()
        assert [problem.path for problem in caught.value.problems] == ["task.documents"]


def test_training_on_documents_differs_from_training_across_them(folder: Path) -> None:
    instance = next(i for i in MIXERS if i.kind == "attention")

    class Across:
        """The same batches, without saying where documents lie."""

        def __getattr__(self, name: str) -> object:
            return getattr(data, name)

        def train_batch(self, index: int, sequences: int) -> object:
            return data.train_batch(index, sequences)[:2]

    data, losses = opened(folder), []
    for source in (data, data, Across()):
        torch.manual_seed(0)
        model = execute(architecture_with(instance).model_copy(update={"vocab": 96}).plan())
        trained = train(model, source, batching=Batching(4, 3), peak=1e-3, context=16, seed=0)
        losses.append([point.loss for point in trained.curve])
    assert losses[0] == losses[1]
    assert losses[0][1:] != losses[2][1:]
