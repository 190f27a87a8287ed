"""Published models at a toy size, ours and the peer's, with the correspondence of their weights.

Ours is the preset itself with smaller numbers, so that its structure is what is compared.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import transformers as peer

from nas.search_spaces.published import published
from tests.peers.links import (
    Link,
    cut,
    cut_turned,
    permuted,
    plus_one,
    same,
    stacked,
    stacked_pairs,
    turned,
)

DIM, DEPTH, VOCAB, HIDDEN = 16, 2, 29, 20
HEADS, GROUPS, HEAD_DIM = 4, 2, 4
EXPERTS, ACTIVE, EXPERT = 4, 2, 10
NOPE, ROPE, VALUE, RANK = 6, 4, 5, 8
WINDOW = 5
SMALL = {
    "vocab_size": VOCAB,
    "hidden_size": DIM,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": HEADS,
    "num_key_value_heads": GROUPS,
    "intermediate_size": HIDDEN,
    "rms_norm_eps": 1e-6,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}


class SmallModel(NamedTuple):
    """One model, twice."""

    space: dict[str, Any]
    build: Callable[[], Any]
    """The peer's model."""
    links: list[Link]


def shrunk(name: str, **numbers: int) -> dict[str, Any]:
    """A preset with other numbers in each part that has a field of that name."""
    space = copy.deepcopy(published(name).space)
    replace(space, numbers)
    return space | {"dim": DIM, "depth": DEPTH, "vocab": VOCAB}


def replace(data: Any, numbers: dict[str, int]) -> None:
    """Sets fields wherever they occur."""
    for value in data.values() if isinstance(data, dict) else data:
        if isinstance(value, dict | list):
            replace(value, numbers)
    if isinstance(data, dict):
        data.update({name: number for name, number in numbers.items() if name in data})


def rope(base: float) -> dict[str, Any]:
    """The peer's way to say how fast positions turn."""
    return {"rope_parameters": {"rope_theta": base, "rope_type": "default"}}


# Llama and its kin ----------------------------------------------------------------------------

GATED = (("gate", "gate_proj"), ("up", "up_proj"), ("down", "down_proj"))
QKV = (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"))


def ends(tied: bool, norm: Callable[[str, str], Link] = same) -> list[Link]:
    """Embedding, last norm and head."""
    found = [
        same("embedding.token.weight", "model.embed_tokens.weight"),
        norm("norm.weight", "model.norm.weight"),
    ]
    return found if tied else [*found, same("head.out.weight", "lm_head.weight")]


def norms(layer: int, names: dict[str, str], link: Callable[[str, str], Link]) -> list[Link]:
    """Norms of a layer, ours -> theirs."""
    return [
        link(f"blocks.{layer}.{ours}.weight", f"model.layers.{layer}.{theirs}.weight")
        for ours, theirs in names.items()
    ]


def attention(layer: int, *, staged: bool = False, bias: bool = False) -> list[Link]:
    """Projections; `staged` is how an attention with options names them."""
    ours, theirs = f"blocks.{layer}.mixer.inner", f"model.layers.{layer}.self_attn"
    project, out = (".project", ".after.0") if staged else ("", "")
    return [
        same(f"{ours}{out}.out.weight", f"{theirs}.o_proj.weight"),
        *(
            same(f"{ours}{project}.{a}.{kind}", f"{theirs}.{b}.{kind}")
            for a, b in QKV
            for kind in (("weight", "bias") if bias else ("weight",))
        ),
    ]


def gated(layer: int) -> list[Link]:
    """A gated FFN."""
    return [
        same(f"blocks.{layer}.ffn.inner.{a}.weight", f"model.layers.{layer}.mlp.{b}.weight")
        for a, b in GATED
    ]


def experts(layer: int, routed: str) -> list[Link]:
    """Routed experts, which the peer stacks."""
    ours, theirs = f"blocks.{layer}.ffn.inner{routed}", f"model.layers.{layer}.mlp"
    each = [f"{ours}.experts.{index}" for index in range(EXPERTS)]
    return [
        same(f"{ours}.router.weight", f"{theirs}.gate.weight"),
        stacked_pairs(
            [(f"{e}.gate.weight", f"{e}.up.weight") for e in each],
            f"{theirs}.experts.gate_up_proj",
        ),
        stacked([f"{e}.down.weight" for e in each], f"{theirs}.experts.down_proj"),
    ]


PRE = {"mixer.norm": "input_layernorm", "ffn.norm": "post_attention_layernorm"}
NUMBERS = {"heads": HEADS, "groups": GROUPS, "head_dim": HEAD_DIM, "hidden": HIDDEN}


def in_each_layer(part: Callable[[int], list[Link]]) -> list[Link]:
    """The links of all layers."""
    return [link for layer in range(DEPTH) for link in part(layer)]


def llama() -> SmallModel:
    config = peer.LlamaConfig(**SMALL, **rope(500_000.0), tie_word_embeddings=True)
    links = in_each_layer(lambda i: [*norms(i, PRE, same), *attention(i), *gated(i)])
    return SmallModel(
        shrunk("llama-3.2-1b", **NUMBERS),
        lambda: peer.LlamaForCausalLM(config),
        [*ends(tied=True), *links],
    )


def mistral() -> SmallModel:
    config = peer.MistralConfig(**SMALL, sliding_window=WINDOW)
    links = in_each_layer(lambda i: [*norms(i, PRE, same), *attention(i), *gated(i)])
    return SmallModel(
        shrunk("mistral-7b", **NUMBERS, window=WINDOW),
        lambda: peer.MistralForCausalLM(config),
        [*ends(tied=False), *links],
    )


def qwen() -> SmallModel:
    config = peer.Qwen2Config(**SMALL, **rope(1_000_000.0), tie_word_embeddings=True)
    links = in_each_layer(
        lambda i: [*norms(i, PRE, same), *attention(i, staged=True, bias=True), *gated(i)]
    )
    return SmallModel(
        shrunk("qwen2.5-0.5b", **NUMBERS),
        lambda: peer.Qwen2ForCausalLM(config),
        [*ends(tied=True), *links],
    )


def gemma() -> SmallModel:
    config = peer.Gemma2Config(
        **SMALL,
        head_dim=HEAD_DIM,
        query_pre_attn_scalar=HEAD_DIM,
        sliding_window=WINDOW,
        final_logit_softcapping=None,
        attn_implementation="eager",
    )
    names = {
        "mixer.before": "input_layernorm",
        "mixer.after": "post_attention_layernorm",
        "ffn.before": "pre_feedforward_layernorm",
        "ffn.after": "post_feedforward_layernorm",
    }
    links = in_each_layer(lambda i: [*norms(i, names, plus_one), *attention(i), *gated(i)])
    return SmallModel(
        shrunk("gemma-2-2b", **NUMBERS, window=WINDOW),
        lambda: peer.Gemma2ForCausalLM(config),
        [*ends(tied=True, norm=plus_one), *links],
    )


def olmo() -> SmallModel:
    config = peer.Olmo2Config(**SMALL, **rope(500_000.0))
    names = {
        "mixer.norm": "post_attention_layernorm",
        "ffn.norm": "post_feedforward_layernorm",
        "mixer.inner.before.0.query": "self_attn.q_norm",
        "mixer.inner.before.0.key": "self_attn.k_norm",
    }
    links = in_each_layer(lambda i: [*norms(i, names, same), *attention(i, staged=True), *gated(i)])
    return SmallModel(
        shrunk("olmo-2-1b", **NUMBERS),
        lambda: peer.Olmo2ForCausalLM(config),
        [*ends(tied=False), *links],
    )


def mixtral() -> SmallModel:
    config = peer.MixtralConfig(
        **SMALL,
        **rope(1_000_000.0),
        num_local_experts=EXPERTS,
        num_experts_per_tok=ACTIVE,
        sliding_window=None,
        experts_implementation="eager",  # the other one knows no float64
    )
    links = in_each_layer(lambda i: [*norms(i, PRE, same), *attention(i), *experts(i, "")])
    return SmallModel(
        shrunk("mixtral-8x7b", **NUMBERS, experts=EXPERTS, top_k=ACTIVE),
        lambda: peer.MixtralForCausalLM(config),
        [*ends(tied=False), *links],
    )


# DeepSeek-V2 -----------------------------------------------------------------------------------


def deepseek() -> SmallModel:
    config = peer.DeepseekV2Config(
        **(SMALL | {"num_key_value_heads": HEADS, "intermediate_size": EXPERT}),
        kv_lora_rank=RANK,
        q_lora_rank=None,
        qk_nope_head_dim=NOPE,
        qk_rope_head_dim=ROPE,
        v_head_dim=VALUE,
        n_routed_experts=EXPERTS,
        num_experts_per_tok=ACTIVE,
        n_shared_experts=2,
        moe_intermediate_size=EXPERT,
        first_k_dense_replace=1,
        routed_scaling_factor=1.0,
        norm_topk_prob=False,
        experts_implementation="eager",
    )
    numbers = {"heads": HEADS, "kv_rank": RANK, "nope_dim": NOPE, "rope_dim": ROPE}
    numbers |= {"value_dim": VALUE, "hidden": EXPERT, "experts": EXPERTS, "top_k": ACTIVE}
    links = in_each_layer(lambda i: [*norms(i, PRE, same), *latent_attention(i)])
    return SmallModel(
        shrunk("deepseek-v2-lite", **numbers),
        lambda: peer.DeepseekV2ForCausalLM(config),
        [*ends(tied=False), *links, *gated(0), *experts(1, ".routed"), *shared_experts(1)],
    )


def latent_attention(layer: int) -> list[Link]:
    """The peer turns neighbouring channels by the position, ours those half a head apart."""
    ours, theirs = f"blocks.{layer}.mixer.inner", f"model.layers.{layer}.self_attn"
    pairs = torch.cat((torch.arange(0, ROPE, 2), torch.arange(1, ROPE, 2)))
    head = torch.cat((torch.arange(NOPE), NOPE + pairs))
    query = torch.cat([index * (NOPE + ROPE) + head for index in range(HEADS)])
    return [
        permuted(f"{ours}.query.up.weight", f"{theirs}.q_proj.weight", query),
        Link(
            (f"{ours}.latent.weight", f"{ours}.shared_key.weight"),
            (f"{theirs}.kv_a_proj_with_mqa.weight",),
            lambda w: (w[:RANK], w[RANK:][pairs]),
            lambda latent, key: (torch.cat((latent, key[pairs.argsort()])),),
        ),
        same(f"{ours}.latent_norm.weight", f"{theirs}.kv_a_layernorm.weight"),
        Link(
            (f"{ours}.key.weight", f"{ours}.value.weight"),
            (f"{theirs}.kv_b_proj.weight",),
            lambda w: tuple(
                part.flatten(0, 1) for part in w.unflatten(0, (HEADS, -1)).split((NOPE, VALUE), 1)
            ),
            lambda k, v: (
                torch.cat((k.view(HEADS, NOPE, RANK), v.view(HEADS, VALUE, RANK)), 1).flatten(0, 1),
            ),
        ),
        same(f"{ours}.out.weight", f"{theirs}.o_proj.weight"),
    ]


def shared_experts(layer: int) -> list[Link]:
    """Two experts of ours, which the peer keeps as one of twice the width."""
    ours, theirs = f"blocks.{layer}.ffn.inner.shared", f"model.layers.{layer}.mlp.shared_experts"
    return [
        cut(
            [f"{ours}.{index}.{a}.weight" for index in range(2)],
            f"{theirs}.{b}.weight",
            (EXPERT, EXPERT),
            axis=1 if a == "down" else 0,
        )
        for a, b in GATED
    ]


# GPT-2 and BERT --------------------------------------------------------------------------------


def gpt2() -> SmallModel:
    config = peer.GPT2Config(
        vocab_size=VOCAB,
        n_embd=DIM,
        n_layer=DEPTH,
        n_head=HEADS,
        n_inner=HIDDEN,
        n_positions=40,
        bos_token_id=None,
        eos_token_id=None,
    )
    numbers = NUMBERS | {"groups": HEADS, "max_tokens": 40}
    links = [
        same("embedding.token.weight", "transformer.wte.weight"),
        same("embedding.position.weight", "transformer.wpe.weight"),
        same("norm.weight", "transformer.ln_f.weight"),
        same("norm.bias", "transformer.ln_f.bias"),
        *in_each_layer(gpt2_layer),
    ]
    return SmallModel(
        shrunk("gpt2-small", **numbers), lambda: peer.GPT2LMHeadModel(config).eval(), links
    )


def gpt2_layer(layer: int) -> list[Link]:
    ours, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
    matrices = {
        "mixer.inner.out": "attn.c_proj",
        "ffn.inner.up": "mlp.c_fc",
        "ffn.inner.down": "mlp.c_proj",
    }
    qkv = [f"{ours}.mixer.inner.{a}" for a, _ in QKV]
    return [
        *(
            same(f"{ours}.{a}.norm.{kind}", f"{theirs}.{b}.{kind}")
            for a, b in (("mixer", "ln_1"), ("ffn", "ln_2"))
            for kind in ("weight", "bias")
        ),
        cut_turned([f"{a}.weight" for a in qkv], f"{theirs}.attn.c_attn.weight", [DIM] * 3),
        cut([f"{a}.bias" for a in qkv], f"{theirs}.attn.c_attn.bias", [DIM] * 3),
        *(turned(f"{ours}.{a}.weight", f"{theirs}.{b}.weight") for a, b in matrices.items()),
        *(same(f"{ours}.{a}.bias", f"{theirs}.{b}.bias") for a, b in matrices.items()),
    ]


BERT_LAYER = {
    "mixer.inner.query": "attention.self.query",
    "mixer.inner.key": "attention.self.key",
    "mixer.inner.value": "attention.self.value",
    "mixer.inner.out": "attention.output.dense",
    "mixer.norm": "attention.output.LayerNorm",
    "ffn.inner.up": "intermediate.dense",
    "ffn.inner.down": "output.dense",
    "ffn.norm": "output.LayerNorm",
}
BERT_ENDS = {
    "embedding.norm": "bert.embeddings.LayerNorm",
    "head.dense": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
}


def bert() -> SmallModel:
    config = peer.BertConfig(
        vocab_size=VOCAB,
        hidden_size=DIM,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        intermediate_size=HIDDEN,
        max_position_embeddings=40,
        layer_norm_eps=1e-5,
        pad_token_id=None,
    )
    names = BERT_ENDS | {
        f"blocks.{i}.{a}": f"bert.encoder.layer.{i}.{b}"
        for i in range(DEPTH)
        for a, b in BERT_LAYER.items()
    }
    tables = {"token": "word", "position": "position", "segment": "token_type"}
    links = [
        *(same(f"{a}.{k}", f"{b}.{k}") for a, b in names.items() for k in ("weight", "bias")),
        *(
            same(f"embedding.embedding.{a}.weight", f"bert.embeddings.{b}_embeddings.weight")
            for a, b in tables.items()
        ),
        same("head.head.bias", "cls.predictions.bias"),
    ]
    numbers = NUMBERS | {"groups": HEADS, "max_tokens": 40}
    return SmallModel(
        shrunk("bert-base", **numbers), lambda: peer.BertForMaskedLM(config).eval(), links
    )


# Mamba and Mamba-2 -----------------------------------------------------------------------------

STATES, INNER = 4, 2 * DIM


def mamba() -> SmallModel:
    config = peer.MambaConfig(
        vocab_size=VOCAB,
        hidden_size=DIM,
        num_hidden_layers=DEPTH,
        state_size=STATES,
        layer_norm_epsilon=1e-6,
        residual_in_fp32=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    return SmallModel(
        shrunk("mamba-130m", states=STATES, step_rank=1),
        lambda: peer.MambaForCausalLM(config),
        [*backbone(), *in_each_layer(mamba_layer)],
    )


def backbone() -> list[Link]:
    """Embedding and last norm."""
    return [
        same("embedding.token.weight", "backbone.embeddings.weight"),
        same("norm.weight", "backbone.norm_f.weight"),
    ]


def mamba_layer(layer: int) -> list[Link]:
    ours, theirs = f"blocks.{layer}.inner", f"backbone.layers.{layer}.mixer"
    vectors = ["step.down.weight", "write.project.weight", "read.project.weight"]
    return [
        same(f"blocks.{layer}.norm.weight", f"backbone.layers.{layer}.norm.weight"),
        cut(
            [f"{ours}.enter.weight", f"{ours}.output_gate.gate.weight"],
            f"{theirs}.in_proj.weight",
            (INNER, INNER),
        ),
        same(f"{ours}.conv.conv.weight", f"{theirs}.conv1d.weight"),
        same(f"{ours}.conv.conv.bias", f"{theirs}.conv1d.bias"),
        cut([f"{ours}.{v}" for v in vectors], f"{theirs}.x_proj.weight", (1, STATES, STATES)),
        same(f"{ours}.step.up.weight", f"{theirs}.dt_proj.weight"),
        same(f"{ours}.step.up.bias", f"{theirs}.dt_proj.bias"),
        turned(f"{ours}.log_rates", f"{theirs}.A_log"),
        same(f"{ours}.skip", f"{theirs}.D"),
        same(f"{ours}.out.weight", f"{theirs}.out_proj.weight"),
    ]


MAMBA2_HEADS = 8


def mamba2() -> SmallModel:
    config = peer.Mamba2Config(
        vocab_size=VOCAB,
        hidden_size=DIM,
        num_hidden_layers=DEPTH,
        state_size=STATES,
        num_heads=MAMBA2_HEADS,
        head_dim=INNER // MAMBA2_HEADS,
        n_groups=1,
        chunk_size=8,
        layer_norm_epsilon=1e-6,
        residual_in_fp32=False,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )

    numbers = {"states": STATES, "heads": MAMBA2_HEADS, "head_dim": INNER // MAMBA2_HEADS}

    def build() -> Any:
        model = peer.Mamba2ForCausalLM(config)
        for block in model.backbone.layers:
            block.mixer.norm.variance_epsilon = 1e-5  # the paper's code has two, the peer one
        return model

    return SmallModel(
        shrunk("mamba2-130m", **numbers),
        build,
        [*backbone(), *in_each_layer(mamba2_layer)],
    )


def mamba2_layer(layer: int) -> list[Link]:
    ours, theirs = f"blocks.{layer}.inner", f"backbone.layers.{layer}.mixer"
    conv = INNER + 2 * STATES
    return [
        same(f"blocks.{layer}.norm.weight", f"backbone.layers.{layer}.norm.weight"),
        cut(
            [f"{ours}.gate.weight", f"{ours}.enter.weight", f"{ours}.decay.rate.weight"],
            f"{theirs}.in_proj.weight",
            (INNER, conv, MAMBA2_HEADS),
        ),
        same(f"{ours}.conv.conv.weight", f"{theirs}.conv1d.weight"),
        same(f"{ours}.conv.conv.bias", f"{theirs}.conv1d.bias"),
        same(f"{ours}.decay.a_log", f"{theirs}.A_log"),
        same(f"{ours}.decay.step_bias", f"{theirs}.dt_bias"),
        same(f"{ours}.skip", f"{theirs}.D"),
        same(f"{ours}.norm.weight", f"{theirs}.norm.weight"),
        same(f"{ours}.out.weight", f"{theirs}.out_proj.weight"),
    ]


SMALL_MODELS: dict[str, Callable[[], SmallModel]] = {
    "bert": bert,
    "deepseek-v2": deepseek,
    "gemma-2": gemma,
    "gpt2": gpt2,
    "llama": llama,
    "mamba": mamba,
    "mamba-2": mamba2,
    "mistral": mistral,
    "mixtral": mixtral,
    "olmo-2": olmo,
    "qwen2.5": qwen,
}
