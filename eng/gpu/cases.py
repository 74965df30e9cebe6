"""The ops of a guided SD 1.5 step (512x512), of an SDXL step (1024x1024) and of the VAE decoder, each with its torch counterpart.

A case is made for one dtype: random inputs, `ours` (a function of an Exec), `theirs` (the same work in eager torch, channels last), and
`exact` (the same in float64). Errors are relative to the largest value of the exact result.

Limits. u is the unit roundoff of the dtype (2^-24, 2^-11, 2^-8). A sum of K float32 products errs by 8 * 2^-24 * sqrt(K), as in
native/tests/tolerances.h; storing the result by u. Attention also rounds its weights to 16 bits, and convolutions of doubled images their
summed kernels: one more u each, with a factor 2 as the peak is not where the error is.
"""

import math

import torch
import torch.nn.functional as F

import sdn

UNIT = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


def dot_limit(k):
    return 8 * 2.0**-24 * math.sqrt(k) + 4 * 2.0**-24


class Case:
    """family, what: how it is listed. flops, bytes: what it has to do and to move at least."""

    def __init__(self, family, what, make):
        self.family, self.what, self.make = family, what, make


class Made:
    def __init__(self, out, ours, theirs, exact, limit, flops=0, moved=0, weights=()):
        self.out, self.ours, self.theirs, self.exact, self.limit = out, ours, theirs, exact, limit
        self.flops, self.moved, self.weights = flops, moved, weights


def random(where, dtype, *shape, scale=1.0):
    return (torch.randn(*shape, device=where, dtype=torch.float32) * scale).to(dtype)


def channels_first(x):
    return x.permute(0, 3, 1, 2)


def conv(family, size, inputs, outputs, stride=1, doubled=False, temb=False, residual=False, batch=2, count=1):
    target = 2 * size if doubled else size // stride
    extras = "".join(f" +{n}" for n, on in (("temb", temb), ("residual", residual)) if on)
    kind = " up" if doubled else f" /{stride}" if stride > 1 else ""

    def make(device, where, dtype):
        x = random(where, dtype, batch, size, size, inputs)
        w = random(where, dtype, outputs, inputs, 3, 3, scale=1 / math.sqrt(9 * inputs))
        b = random(where, torch.float32, outputs)
        add = random(where, dtype, batch, outputs) if temb else None
        skip = random(where, dtype, batch, target, target, outputs) if residual else None
        out = torch.full((batch, target, target, outputs), math.nan, device=where, dtype=dtype)
        weight = device.weight(sdn.CONV2D, [w], [b], storage=dtype, doubles=doubled)

        def torch_conv(x, w, b, add, skip):
            x = channels_first(x)
            if doubled:
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            y = F.conv2d(x, w, b, stride, 1)
            if add is not None:
                y = y + add[:, :, None, None]
            return (y + channels_first(skip) if skip is not None else y).permute(0, 2, 3, 1)

        w_last, b_typed = w.contiguous(memory_format=torch.channels_last), b.to(dtype)
        widened = [None if t is None else t.double() for t in (x, w, b, add, skip)]
        upsample = (target, target) if doubled else (0, 0)
        return Made(out, lambda e: e.conv2d(out, x, weight, add, skip, stride, upsample=upsample),
                    lambda: torch_conv(x, w_last, b_typed, add, skip), lambda: torch_conv(*widened),
                    dot_limit(9 * inputs) + (3 if doubled else 1) * UNIT[dtype], 2 * out.numel() * 9 * inputs, weights=[weight])

    return Case(family, f"conv3x3 {size}x{size} {inputs}>{outputs}{kind}{extras}" + (f" x{count}" if count > 1 else ""), make)


def linear(family, rows, inputs, outputs, activation=sdn.NONE, residual=False, inputs2=0, batch=2):
    """outputs: of the op; a GEGLU's weight has twice as many rows."""
    geglu = activation == sdn.GEGLU
    extras = {sdn.NONE: "", sdn.SILU: " +silu", sdn.GELU: " +gelu", sdn.QUICK_GELU: " +quick_gelu", sdn.GEGLU: " +geglu"}[activation]
    extras += " +residual" if residual else ""

    def make(device, where, dtype):
        x = random(where, dtype, batch, rows // batch, inputs)
        x2 = random(where, dtype, batch, rows // batch, inputs2) if inputs2 else None
        columns = inputs + inputs2
        w = random(where, dtype, outputs * (2 if geglu else 1), columns, scale=1 / math.sqrt(columns))
        b = random(where, torch.float32, w.shape[0])
        skip = random(where, dtype, batch, rows // batch, outputs) if residual else None
        out = torch.full((batch, rows // batch, outputs), math.nan, device=where, dtype=dtype)
        parts, biases = (list(w.chunk(2)), list(b.chunk(2))) if geglu else ([w], [b])
        weight = device.weight(sdn.MATRIX, parts, biases, storage=dtype, geglu=geglu)

        def torch_linear(x, x2, w, b, skip):
            y = F.linear(x if x2 is None else torch.cat([x, x2], dim=-1), w, b)
            if geglu:
                value, gate = y.chunk(2, dim=-1)
                y = value * F.gelu(gate)
            elif activation != sdn.NONE:
                y = {sdn.SILU: F.silu, sdn.GELU: F.gelu, sdn.QUICK_GELU: lambda t: t * torch.sigmoid(1.702 * t)}[activation](y)
            return y if skip is None else y + skip

        b_typed = b.to(dtype)
        widened = [None if t is None else t.double() for t in (x, x2, w, b, skip)]
        return Made(out, lambda e: e.linear(out, x, weight, x2, skip, activation), lambda: torch_linear(x, x2, w, b_typed, skip),
                    lambda: torch_linear(*widened), (2 if geglu else 1) * dot_limit(columns) + UNIT[dtype] + 16 * 2.0**-24,
                    2 * rows * w.shape[0] * columns, weights=[weight])

    source = f"{inputs}+{inputs2}" if inputs2 else f"{inputs}"
    return Case(family, f"linear {rows}x{outputs}x{source}{extras}", make)


def attention(family, queries, keys, heads, dim, batch=2, causal=False):
    def make(device, where, dtype):
        channels = heads * dim
        if queries == keys:  # slices of a packed projection
            q, k, v = random(where, dtype, batch, queries, 3 * channels).chunk(3, dim=-1)
        else:
            q = random(where, dtype, batch, queries, channels)
            k, v = random(where, dtype, batch, keys, 2 * channels).chunk(2, dim=-1)
        out = torch.full((batch, queries, channels), math.nan, device=where, dtype=dtype)
        scale = 1 / math.sqrt(dim)

        def split(t):
            return t.unflatten(-1, (heads, dim)).transpose(1, 2)

        def torch_attention():
            return F.scaled_dot_product_attention(split(q), split(k), split(v), is_causal=causal).transpose(1, 2).flatten(2)

        def exact():  # a head at a time: the scores of all may not fit
            result = torch.empty(out.shape, device=where, dtype=torch.float64)
            mask = torch.full((queries, keys), -math.inf, device=where, dtype=torch.float64).triu(1) if causal else None
            for b in range(batch):
                for h in range(heads):
                    part = slice(h * dim, (h + 1) * dim)
                    for first in range(0, queries, 4096):
                        scores = q[b, first:first + 4096, part].double() @ k[b, :, part].double().T * scale
                        scores = scores if mask is None else scores + mask[first:first + 4096]
                        result[b, first:first + 4096, part] = scores.softmax(-1) @ v[b, :, part].double()
            return result

        limit = dot_limit(dim) + dot_limit(keys) + (3 if dtype != torch.float32 else 1) * UNIT[dtype]
        return Made(out, lambda e: e.attention(out, q, k, v, heads, scale, causal), torch_attention, exact, limit,
                    4 * batch * heads * queries * keys * dim)

    return Case(family, f"attention {queries}x{keys} {heads} heads of {dim}{' causal' if causal else ''}", make)


def group_norm(family, size, channels, channels2=0, batch=2, silu=True, groups=32, eps=1e-5):
    def make(device, where, dtype):
        x = random(where, dtype, batch, size, size, channels) + 0.5
        x2 = random(where, dtype, batch, size, size, channels2) if channels2 else None
        total = channels + channels2
        scale, shift = random(where, torch.float32, total), random(where, torch.float32, total)
        out = torch.full((batch, size, size, total), math.nan, device=where, dtype=dtype)
        weight = device.weight(sdn.NORM, [scale], [shift])

        def torch_norm(x, x2, scale, shift):
            y = channels_first(x if x2 is None else torch.cat([x, x2], dim=-1))
            y = F.group_norm(y, groups, scale, shift, eps)
            return (F.silu(y) if silu else y).permute(0, 2, 3, 1)

        typed = (x, x2, scale.to(dtype), shift.to(dtype))
        widened = [None if t is None else t.double() for t in (x, x2, scale, shift)]
        return Made(out, lambda e: e.group_norm(out, x, weight, groups, eps, x2, sdn.SILU if silu else sdn.NONE), lambda: torch_norm(*typed),
                    lambda: torch_norm(*widened), 64 * 2.0**-24 + UNIT[dtype], moved=2 * out.numel() * out.element_size(), weights=[weight])

    source = f"{channels}+{channels2}" if channels2 else f"{channels}"
    return Case(family, f"group_norm {size}x{size} {source}{' +silu' if silu else ''}", make)


def layer_norm(family, rows, channels, batch=2):
    def make(device, where, dtype):
        x = random(where, dtype, batch, rows // batch, channels) + 0.5
        scale, shift = random(where, torch.float32, channels), random(where, torch.float32, channels)
        out = torch.full(x.shape, math.nan, device=where, dtype=dtype)
        weight = device.weight(sdn.NORM, [scale], [shift])
        typed = (scale.to(dtype), shift.to(dtype))
        return Made(out, lambda e: e.layer_norm(out, x, weight, 1e-5), lambda: F.layer_norm(x, (channels,), *typed, 1e-5),
                    lambda: F.layer_norm(x.double(), (channels,), scale.double(), shift.double(), 1e-5), 64 * 2.0**-24 + UNIT[dtype],
                    moved=2 * out.numel() * out.element_size(), weights=[weight])

    return Case(family, f"layer_norm {rows}x{channels}", make)


def copy(family, what, shape, order, to=None):
    """A tensor of this shape, seen in this order of its dimensions, made dense in `to` (the same dtype where None)."""

    def make(device, where, dtype):
        source = random(where, dtype, *shape)
        x = source.permute(*order)
        out = torch.empty(x.shape, device=where, dtype=to or dtype)
        limit = UNIT.get(to, 0.0) if to is not None and to != dtype else 0.0
        moved = source.numel() * (source.element_size() + out.element_size())
        return Made(out, lambda e: e.copy(out, x), lambda: x.to(to or dtype, memory_format=torch.contiguous_format, copy=True).contiguous(),
                    lambda: x.double(), limit, moved=moved)

    return Case(family, f"copy {what}", make)


def sampler_step(family, shape):
    def make(device, where, dtype):
        sample, history = random(where, torch.float32, *shape), random(where, torch.float32, *shape)
        cond, uncond = random(where, dtype, *shape), random(where, dtype, *shape)
        out = torch.full(shape, math.nan, device=where)
        inputs, factors = [sample, cond, uncond, history], [0.93, -1.2, 0.8, 0.11]

        def torch_step(inputs):
            return sum(f * t for f, t in zip(factors, inputs))

        return Made(out, lambda e: e.linear_combination(out, inputs, factors), lambda: torch_step(inputs),
                    lambda: torch_step([t.double() for t in inputs]), 2.0**-24, moved=sum(t.numel() * t.element_size() for t in [*inputs, out]))

    return Case(family, f"sampler step {'x'.join(map(str, shape))}", make)


def all_cases():
    cases = []
    add = cases.append
    # SD 1.5, batch 2 for guidance
    for size, c, below in ((64, 320, 320), (32, 640, 320), (16, 1280, 640), (8, 1280, 1280)):
        rows = 2 * size * size
        add(conv("sd15", size, c, c, temb=True))
        add(conv("sd15", size, c, c, residual=True))
        add(conv("sd15", size, 2 * c, c, temb=True))
        if below != c:
            add(conv("sd15", size, below, c, temb=True))
        if size > 8:
            add(conv("sd15", size, c, c, stride=2))
            add(conv("sd15", size // 2, {64: 640, 32: 1280, 16: 1280}[size], {64: 640, 32: 1280, 16: 1280}[size], doubled=True))
            add(linear("sd15", rows, c, 3 * c))
            add(linear("sd15", rows, c, c, residual=True))
            add(linear("sd15", rows, c, 4 * c, sdn.GEGLU))
            add(linear("sd15", rows, 4 * c, c, residual=True))
            add(layer_norm("sd15", rows, c))
        add(linear("sd15", rows, c, c, inputs2=c))
        add(group_norm("sd15", size, c))
        add(group_norm("sd15", size, c, c))
        heads = 8
        add(attention("sd15", size * size, size * size, heads, c // heads))
        add(attention("sd15", size * size, 77, heads, c // heads))
    add(conv("sd15", 64, 640, 320, temb=True))
    add(conv("sd15", 64, 960, 320, temb=True))
    add(conv("sd15", 32, 1920, 640, temb=True))
    add(group_norm("sd15", 64, 640, 320))
    add(group_norm("sd15", 32, 1280, 640))
    add(conv("sd15", 64, 4, 320))
    add(conv("sd15", 64, 320, 4))
    add(linear("sd15", 2, 320, 1280, sdn.SILU))
    add(linear("sd15", 2, 1280, 1280))
    add(attention("sd15", 77, 77, 12, 64, causal=True))
    add(linear("sd15", 154, 768, 3072, sdn.QUICK_GELU))
    add(linear("sd15", 154, 3072, 768, residual=True))
    add(sampler_step("sd15", (1, 64, 64, 4)))
    add(copy("sd15", "2x64x64x320 to channels first", (2, 64, 64, 320), (0, 3, 1, 2)))
    add(copy("sd15", "2x320x64x64 to channels last", (2, 320, 64, 64), (0, 2, 3, 1)))
    add(copy("sd15", "2x64x64x320 to float32", (2, 64, 64, 320), (0, 1, 2, 3), torch.float32))
    # SDXL, batch 2
    for size, c, below in ((128, 320, 320), (64, 640, 320), (32, 1280, 640)):
        rows = 2 * size * size
        add(conv("sdxl", size, c, c, temb=True))
        add(conv("sdxl", size, 2 * c, c, temb=True))
        add(group_norm("sdxl", size, c))
        if size < 128:
            add(linear("sdxl", rows, c, 3 * c))
            add(linear("sdxl", rows, c, c, residual=True))
            add(linear("sdxl", rows, c, 4 * c, sdn.GEGLU))
            add(linear("sdxl", rows, 4 * c, c, residual=True))
            add(layer_norm("sdxl", rows, c))
            add(attention("sdxl", size * size, size * size, c // 64, 64))
            add(attention("sdxl", size * size, 77, c // 64, 64))
    add(conv("sdxl", 64, 640, 640, doubled=True))
    add(conv("sdxl", 32, 1280, 1280, doubled=True))
    # VAE decoder at 512x512, one picture
    add(conv("vae", 64, 512, 512, residual=True, batch=1))
    add(attention("vae", 4096, 4096, 1, 512, batch=1))
    add(conv("vae", 64, 512, 512, doubled=True, batch=1))
    add(conv("vae", 128, 512, 512, residual=True, batch=1))
    add(conv("vae", 128, 512, 512, doubled=True, batch=1))
    add(conv("vae", 256, 512, 256, batch=1))
    add(conv("vae", 256, 256, 256, residual=True, batch=1))
    add(conv("vae", 256, 256, 256, doubled=True, batch=1))
    add(conv("vae", 512, 256, 128, batch=1))
    add(conv("vae", 512, 128, 128, residual=True, batch=1))
    add(conv("vae", 512, 128, 3, batch=1))
    add(group_norm("vae", 512, 256, batch=1, eps=1e-6))
    add(group_norm("vae", 512, 128, batch=1, eps=1e-6))
    return cases


def tiny_cases():
    """One of each kind at sizes for the CPU and the emulated GPU."""
    return [conv("tiny", 6, 24, 32, temb=True, residual=True), conv("tiny", 7, 16, 24, stride=1, batch=1), conv("tiny", 8, 16, 16, stride=2),
            conv("tiny", 5, 16, 24, doubled=True), conv("tiny", 6, 4, 32), conv("tiny", 6, 32, 3),
            linear("tiny", 34, 40, 72), linear("tiny", 34, 40, 48, sdn.GEGLU), linear("tiny", 34, 40, 48, sdn.SILU, residual=True),
            linear("tiny", 34, 40, 48, sdn.GELU), linear("tiny", 34, 40, 48, sdn.QUICK_GELU), linear("tiny", 34, 40, 48, inputs2=24),
            attention("tiny", 49, 49, 2, 40), attention("tiny", 49, 77, 2, 40), attention("tiny", 33, 33, 2, 24, causal=True),
            group_norm("tiny", 6, 24, groups=4), group_norm("tiny", 6, 20, 16, groups=4), layer_norm("tiny", 34, 40),
            copy("tiny", "2x5x6x24 to channels first", (2, 5, 6, 24), (0, 3, 1, 2)), sampler_step("tiny", (1, 6, 6, 4)),
            copy("tiny", "2x5x6x24 to float32", (2, 5, 6, 24), (0, 1, 2, 3), torch.float32)]
