"""Published parameter counts against models that transformers builds from the published numbers.

Nothing is downloaded: configurations are written out here, and weights are never allocated.
"""

from typing import Any

import pytest
import torch

from nas.search_spaces.published import published

peer = pytest.importorskip("transformers")


def gpt2(width: int, depth: int, heads: int) -> Any:
    config = peer.GPT2Config(vocab_size=50257, n_embd=width, n_layer=depth, n_head=heads)
    return peer.GPT2LMHeadModel(config)


def decoder(name: str, shape: tuple[int, ...], **more: Any) -> Any:
    """A Llama-like model of (vocabulary, width, FFN, depth, heads, key heads)."""
    fields = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
    fields += ("num_attention_heads", "num_key_value_heads")
    numbers = dict(zip(fields, shape, strict=True)) | {"tie_word_embeddings": False} | more
    config = getattr(peer, f"{name}Config")(**numbers)
    return getattr(peer, f"{name}ForCausalLM")(config)


def bert() -> Any:
    return peer.BertForMaskedLM(peer.BertConfig())  # the defaults are BERT-base, uncased


def falcon() -> Any:
    config = peer.FalconConfig(
        vocab_size=65024,
        hidden_size=4544,
        num_hidden_layers=32,
        num_attention_heads=71,
        multi_query=True,
        parallel_attn=True,
        bias=False,
        new_decoder_architecture=False,
        alibi=False,
    )
    return peer.FalconForCausalLM(config)


def mamba() -> Any:
    config = peer.MambaConfig(vocab_size=50280, hidden_size=768, num_hidden_layers=24)
    return peer.MambaForCausalLM(config)


def mamba2() -> Any:
    config = peer.Mamba2Config(
        vocab_size=50288,
        hidden_size=768,
        num_hidden_layers=24,
        num_heads=24,
        head_dim=64,
        n_groups=1,
        state_size=128,
        tie_word_embeddings=True,
    )
    return peer.Mamba2ForCausalLM(config)


def deepseek() -> Any:
    return decoder(
        "DeepseekV2",
        (102400, 2048, 10944, 27, 16, 16),
        kv_lora_rank=512,
        q_lora_rank=None,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        n_routed_experts=64,
        n_shared_experts=2,
        num_experts_per_tok=6,
        moe_intermediate_size=1408,
        first_k_dense_replace=1,
    )


MODELS = {
    "bert-base": bert,
    "deepseek-v2-lite": deepseek,
    "falcon-7b": falcon,
    "gemma-2-2b": lambda: decoder(
        "Gemma2", (256000, 2304, 9216, 26, 8, 4), head_dim=256, tie_word_embeddings=True
    ),
    "gpt2-large": lambda: gpt2(1280, 36, 20),
    "gpt2-medium": lambda: gpt2(1024, 24, 16),
    "gpt2-small": lambda: gpt2(768, 12, 12),
    "gpt2-xl": lambda: gpt2(1600, 48, 25),
    "llama-2-7b": lambda: decoder("Llama", (32000, 4096, 11008, 32, 32, 32)),
    "llama-3.2-1b": lambda: decoder(
        "Llama", (128256, 2048, 8192, 16, 32, 8), tie_word_embeddings=True
    ),
    "mamba-130m": mamba,
    "mamba2-130m": mamba2,
    "mistral-7b": lambda: decoder("Mistral", (32000, 4096, 14336, 32, 32, 8)),
    "mixtral-8x7b": lambda: decoder("Mixtral", (32000, 4096, 14336, 32, 32, 8)),
    "olmo-2-1b": lambda: decoder("Olmo2", (100352, 2048, 8192, 16, 16, 16)),
    "olmo-2-7b": lambda: decoder("Olmo2", (100352, 4096, 11008, 32, 32, 32)),
    "qwen2.5-0.5b": lambda: decoder(
        "Qwen2", (151936, 896, 4864, 24, 14, 2), tie_word_embeddings=True
    ),
    "tinyllama-1.1b": lambda: decoder("Llama", (32000, 2048, 5632, 22, 32, 4)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_peer_has_as_many_parameters(name: str) -> None:
    with torch.device("meta"):
        model = MODELS[name]()
    assert sum(weight.numel() for weight in model.parameters()) == published(name).params
