"""Trying the model out."""

import torch

from nas.search_spaces.model import Encoder, LanguageModel


def try_out(model: LanguageModel, *, vocab: int, prompt: int, new: int) -> None:
    """Prints the number of parameters, a forward pass and a few decoded tokens."""
    model.eval()
    tokens = torch.randint(vocab, (1, prompt))
    with torch.no_grad():
        logits = model(tokens)
    print(f"parameters: {sum(p.numel() for p in model.parameters()):,}")
    print(f"forward:    tokens {list(tokens.shape)} -> logits {list(logits.shape)}")
    print(f"decoded:    {model.generate(tokens, new)[0, prompt:].tolist()}")


def try_encoder(model: Encoder, *, vocab: int, tokens: int) -> None:
    """Prints the number of parameters and a forward pass."""
    model.eval()
    given = torch.randint(vocab, (1, tokens))
    with torch.no_grad():
        logits = model(given)
    print(f"parameters: {sum(p.numel() for p in model.parameters()):,}")
    print(f"forward:    tokens {list(given.shape)} -> logits {list(logits.shape)}")
