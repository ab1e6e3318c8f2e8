"""The model in JAX: the arithmetic of spec/det-1.md sections 4 and 5 with straight-through fake quantisation.

Matrices are [out, in] as in the container. With quant=True every matrix is rounded per row and every activation row per
token to int8, as the engine does; without it the same network runs in plain f32.
"""

import jax
import jax.numpy as jnp
import numpy as np

CONFIG = dict(dim=160, layers=4, heads=5, kv_heads=5, head_dim=32, ffn=432, context=512, norm_eps=1e-5)


def rope_freq(c):
    j = np.arange(c["head_dim"] // 2, dtype=np.float64)
    return (10000.0 ** (-2 * j / c["head_dim"])).astype(np.float32)


def init(key, c, vocab):
    keys = iter(jax.random.split(key, 8 * c["layers"] + 8))
    q, kv = c["heads"] * c["head_dim"], c["kv_heads"] * c["head_dim"]

    def normal(rows, cols, std):
        return jax.random.normal(next(keys), (rows, cols)) * std

    std = 0.5 / np.sqrt(c["dim"])
    out = std / np.sqrt(2 * c["layers"])
    p = {"embed": normal(vocab, c["dim"], 0.05), "final_norm": jnp.ones(c["dim"])}
    for n in range(c["layers"]):
        p |= {
            f"layers.{n:03}.{name}": value
            for name, value in dict(
                attn_q=normal(q, c["dim"], std), attn_k=normal(kv, c["dim"], std), attn_v=normal(kv, c["dim"], std),
                attn_o=normal(c["dim"], q, out), attn_norm=jnp.ones(c["dim"]), ffn_norm=jnp.ones(c["dim"]),
                ffn_gate=normal(c["ffn"], c["dim"], std), ffn_up=normal(c["ffn"], c["dim"], std), ffn_down=normal(c["dim"], c["ffn"], out),
            ).items()
        }
    return p


def round8(x):
    """Symmetric int8 with one scale per last axis; the gradient passes straight through."""
    s = jnp.max(jnp.abs(x), -1, keepdims=True) / 127
    y = jnp.round(x / jnp.maximum(s, 1e-30)) * s
    return x + jax.lax.stop_gradient(y - x)


def forward(p, tokens, segment, c, quant, pick=None):
    """Logits [batch, time, vocab], or [pick, vocab] of the flat positions `pick`; a token sees the tokens before it in its own segment (rotary positions are relative)."""
    rnd = round8 if quant else lambda x: x
    B, T = tokens.shape
    H, D = c["heads"], c["head_dim"]
    angle = np.arange(T, dtype=np.float64)[:, None] * rope_freq(c)
    cos, sin = (jnp.asarray(f(angle), jnp.float32)[None, :, None] for f in (np.cos, np.sin))
    visible = jnp.tril(jnp.ones((T, T), bool)) & (segment[:, :, None] == segment[:, None, :])
    bias = jnp.where(visible, 0.0, -1e9)[:, None]

    def norm(x, w):
        return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + c["norm_eps"]) * w

    def rope(x):
        a, b = jnp.split(x, 2, -1)
        return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    embed = rnd(p["embed"])
    x = embed[tokens]
    for n in range(c["layers"]):
        w = {k[11:]: rnd(v) if v.ndim == 2 else v for k, v in p.items() if k.startswith(f"layers.{n:03}.")}
        h = rnd(norm(x, w["attn_norm"]))
        q, k, v = (jnp.reshape(h @ w[m].T, (B, T, -1, D)) for m in ("attn_q", "attn_k", "attn_v"))
        q, k = rope(q), rope(k)
        score = jnp.einsum("bthd,bshd->bhts", q, k) * np.float32(1 / np.sqrt(D)) + bias
        o = jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(score), v).reshape(B, T, H * D)
        x = x + rnd(o) @ w["attn_o"].T
        h = rnd(norm(x, w["ffn_norm"]))
        x = x + rnd(jax.nn.silu(h @ w["ffn_gate"].T) * (h @ w["ffn_up"].T)) @ w["ffn_down"].T
    if pick is not None:
        x = x.reshape(B * T, -1)[pick]
    return rnd(norm(x, p["final_norm"])) @ embed.T
