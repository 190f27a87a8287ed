"""The embedding against its definition."""

import pytest
import torch

from nas.plan import execute
from nas.search_spaces.base import Place
from nas.search_spaces.catalogue import EMBEDDINGS


@pytest.mark.parametrize(("scaled", "factor"), [(False, 1.0), (True, 4.0)])
def test_equals_rows_of_the_table(scaled: bool, factor: float) -> None:
    spec = EMBEDDINGS["token"](scaled=scaled)
    embedding = execute(spec.vocabulary_plan(Place(16, 1, 0), 9)).double()
    tokens = torch.tensor([[8, 0, 3], [3, 3, 7]])
    vectors = embedding(tokens, 5)
    for row, column in [(0, 0), (0, 1), (1, 2)]:
        expected = embedding.token.weight[tokens[row, column]] * factor
        torch.testing.assert_close(vectors[row, column], expected, rtol=0, atol=0)
    vectors.sum().backward()
    uses = torch.bincount(tokens.flatten(), minlength=9).double()
    expected = uses[:, None].expand(9, 16) * factor
    torch.testing.assert_close(embedding.token.weight.grad, expected)
