"""Stable Diffusion's UNet and VAE in plain PyTorch: what our library is compared with where there is a GPU.

Parameters have the names of diffusers' checkpoints (UNet2DConditionModel, AutoencoderKL), so that those load with load_weights() and
strict=True. Covered: SD 1.x, SD 2.x and SDXL. Dependencies: torch only.
"""

import json
import math
import struct
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

SD15_UNET = dict(in_channels=4, out_channels=4, block_out_channels=[320, 640, 1280, 1280], layers_per_block=2, cross_attention_dim=768,
                 attention_head_dim=8, transformer_layers_per_block=1, use_linear_projection=False, norm_num_groups=32, norm_eps=1e-5,
                 down_block_types=["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
                 up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3)
SDXL_UNET = dict(in_channels=4, out_channels=4, block_out_channels=[320, 640, 1280], layers_per_block=2, cross_attention_dim=2048,
                 attention_head_dim=[5, 10, 20], transformer_layers_per_block=[1, 2, 10], use_linear_projection=True, norm_num_groups=32,
                 norm_eps=1e-5, down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
                 up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], addition_embed_type="text_time",
                 addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816)
SD_VAE = dict(in_channels=3, out_channels=3, latent_channels=4, block_out_channels=[128, 256, 512, 512], layers_per_block=2,
              norm_num_groups=32, scaling_factor=0.18215)
SDXL_VAE = dict(SD_VAE, scaling_factor=0.13025)

# name: UNet, VAE, latent height and width at the size it was trained at, context channels, pooled channels
FAMILIES = {"sd15": (SD15_UNET, SD_VAE, 64), "sdxl": (SDXL_UNET, SDXL_VAE, 128)}

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
          "I32": torch.int32, "U8": torch.uint8}


def read_safetensors(path):
    """{name: tensor} of a safetensors file: eight bytes of header length, a JSON header, the data."""
    data = bytearray(Path(path).read_bytes())
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        dtype, shape = DTYPES[entry["dtype"]], entry["shape"]
        tensors[name] = torch.frombuffer(data[begin:end], dtype=dtype).reshape(shape) if end > begin else torch.empty(shape, dtype=dtype)
    return tensors


def load_weights(module, folder):
    """Loads the diffusers folder's safetensors file; every key must fit."""
    state = read_safetensors(next(Path(folder).glob("*.safetensors")))
    renamed = {}
    for key, tensor in state.items():  # the VAE attention's old names, in the public SD 1.x files
        for old, new in ((".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0.")):
            key = key.replace(old, new)
        expected = dict(module.named_parameters()).get(key)
        renamed[key] = tensor.reshape(expected.shape) if expected is not None else tensor
    module.load_state_dict(renamed, strict=True)
    return module


def timestep_embedding(timesteps, dim):
    """Cosines first, then sines, in float32: [N] to [N, dim]."""
    half = dim // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=timesteps.device) / half)
    angles = timesteps.float()[:, None] * frequencies[None]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimestepMlp(nn.Module):
    def __init__(self, inputs, channels):
        super().__init__()
        self.linear_1 = nn.Linear(inputs, channels)
        self.linear_2 = nn.Linear(channels, channels)

    def forward(self, x):
        return self.linear_2(F.silu(self.linear_1(x)))


class ResnetBlock2D(nn.Module):
    def __init__(self, inputs, outputs, groups, eps, time_channels=None):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        if time_channels is not None:
            self.time_emb_proj = nn.Linear(time_channels, outputs)
        self.norm2 = nn.GroupNorm(groups, outputs, eps)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x, time=None):
        h = self.conv1(F.silu(self.norm1(x)))
        if time is not None:
            h = h + self.time_emb_proj(F.silu(time))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    """Over tokens [B, S, C]; with `groups` over the pixels of an image [B, C, H, W], normalised first and added to it (VAE)."""

    def __init__(self, channels, heads, context=None, groups=None):
        super().__init__()
        self.heads = heads
        bias = groups is not None
        self.group_norm = nn.GroupNorm(groups, channels, 1e-6) if groups is not None else None
        self.to_q = nn.Linear(channels, channels, bias)
        self.to_k = nn.Linear(context or channels, channels, bias)
        self.to_v = nn.Linear(context or channels, channels, bias)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x, context=None):
        image = x
        if self.group_norm is not None:
            x = self.group_norm(x).flatten(2).transpose(1, 2)
        context = x if context is None else context
        batch, tokens, channels = x.shape
        q, k, v = (p(t).view(batch, -1, self.heads, channels // self.heads).transpose(1, 2)
                   for p, t in ((self.to_q, x), (self.to_k, context), (self.to_v, context)))
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, channels)
        out = self.to_out[0](out)
        return out if self.group_norm is None else image + out.transpose(1, 2).reshape(image.shape)


class Geglu(nn.Module):
    def __init__(self, channels, hidden):
        super().__init__()
        self.proj = nn.Linear(channels, 2 * hidden)

    def forward(self, x):
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.net = nn.ModuleList([Geglu(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels)])

    def forward(self, x):
        return self.net[2](self.net[0](x))


class BasicTransformerBlock(nn.Module):
    def __init__(self, channels, heads, context):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = Attention(channels, heads, context)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, x, context):
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class Transformer2DModel(nn.Module):
    def __init__(self, channels, heads, layers, context, groups, linear):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, 1e-6)
        self.linear = linear
        self.proj_in = nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList(BasicTransformerBlock(channels, heads, context) for _ in range(layers))
        self.proj_out = nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)

    def forward(self, x, context):
        batch, channels, height, width = x.shape
        h = self.norm(x)
        if self.linear:
            h = self.proj_in(h.permute(0, 2, 3, 1).reshape(batch, height * width, channels))
        else:
            h = self.proj_in(h).permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        for block in self.transformer_blocks:
            h = block(h, context)
        if self.linear:
            h = self.proj_out(h).reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        else:
            h = self.proj_out(h.reshape(batch, height, width, channels).permute(0, 3, 1, 2))
        return x + h


class Downsample2D(nn.Module):
    def __init__(self, channels, padding):
        super().__init__()
        self.padding = padding
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=padding)

    def forward(self, x):
        return self.conv(x if self.padding else F.pad(x, (0, 1, 0, 1)))


class Upsample2D(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, size=None):
        return self.conv(F.interpolate(x, size=size, mode="nearest") if size else F.interpolate(x, scale_factor=2.0, mode="nearest"))


class UnetBlock(nn.Module):
    """A level of the UNet: ResNet blocks, each with its transformer where `heads` is given, then a resampling."""

    def __init__(self, inputs, outputs, c, time_channels, heads, layers, down=False, up=False):
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock2D(i, outputs, c["norm_num_groups"], c["norm_eps"], time_channels) for i in inputs)
        if heads is not None:
            self.attentions = nn.ModuleList(Transformer2DModel(outputs, heads, layers, c["cross_attention_dim"], c["norm_num_groups"],
                                                               c["use_linear_projection"]) for _ in inputs)
        self.attended = heads is not None
        if down:
            self.downsamplers = nn.ModuleList([Downsample2D(outputs, 1)])
        if up:
            self.upsamplers = nn.ModuleList([Upsample2D(outputs)])
        self.down, self.up = down, up

    def layer(self, i, x, time, context):
        x = self.resnets[i](x, time)
        return self.attentions[i](x, context) if self.attended else x


class UnetMidBlock(nn.Module):
    def __init__(self, channels, c, time_channels, heads, layers):
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock2D(channels, channels, c["norm_num_groups"], c["norm_eps"], time_channels)
                                     for _ in range(2))
        self.attentions = nn.ModuleList([Transformer2DModel(channels, heads, layers, c["cross_attention_dim"], c["norm_num_groups"],
                                                            c["use_linear_projection"])])

    def forward(self, x, time, context):
        return self.resnets[1](self.attentions[0](self.resnets[0](x, time), context), time)


class UNet2DConditionModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = c = dict(config)
        channels = c["block_out_channels"]
        levels = len(channels)
        per_level = lambda value: list(value) if isinstance(value, (list, tuple)) else [value] * levels  # noqa: E731
        heads, layers = per_level(c["attention_head_dim"]), per_level(c["transformer_layers_per_block"])
        time_channels = 4 * channels[0]
        self.conv_in = nn.Conv2d(c["in_channels"], channels[0], 3, padding=1)
        self.time_embedding = TimestepMlp(channels[0], time_channels)
        if c.get("addition_embed_type") == "text_time":
            self.add_embedding = TimestepMlp(c["projection_class_embeddings_input_dim"], time_channels)

        self.down_blocks = nn.ModuleList()
        skips, current = [channels[0]], channels[0]
        for i, width in enumerate(channels):
            inputs = [current] + [width] * (c["layers_per_block"] - 1)
            attended = "CrossAttn" in c["down_block_types"][i]
            last = i == levels - 1
            self.down_blocks.append(UnetBlock(inputs, width, c, time_channels, heads[i] if attended else None, layers[i], down=not last))
            skips += [width] * (c["layers_per_block"] + (0 if last else 1))
            current = width
        self.mid_block = UnetMidBlock(current, c, time_channels, heads[-1], layers[-1])
        self.up_blocks = nn.ModuleList()
        for i, width in enumerate(reversed(channels)):
            inputs = []
            for _ in range(c["layers_per_block"] + 1):
                inputs.append(current + skips.pop())
                current = width
            attended = "CrossAttn" in c["up_block_types"][i]
            self.up_blocks.append(UnetBlock(inputs, width, c, time_channels, heads[levels - 1 - i] if attended else None,
                                            layers[levels - 1 - i], up=i < levels - 1))
        self.conv_norm_out = nn.GroupNorm(c["norm_num_groups"], channels[0], c["norm_eps"])
        self.conv_out = nn.Conv2d(channels[0], c["out_channels"], 3, padding=1)

    def forward(self, sample, timesteps, context, text_embeds=None, time_ids=None):
        """sample [B, 4, H, W], timesteps [B], context [B, S, C]; SDXL: text_embeds [B, P], time_ids [B, 6]."""
        dtype = sample.dtype
        time = self.time_embedding(timestep_embedding(timesteps, self.config["block_out_channels"][0]).to(dtype))
        if text_embeds is not None:
            ids = timestep_embedding(time_ids.flatten(), self.config["addition_time_embed_dim"]).reshape(text_embeds.shape[0], -1)
            time = time + self.add_embedding(torch.cat([text_embeds, ids.to(dtype)], dim=-1))
        x = self.conv_in(sample)
        skips = [x]
        for block in self.down_blocks:
            for i in range(len(block.resnets)):
                x = block.layer(i, x, time, context)
                skips.append(x)
            if block.down:
                x = block.downsamplers[0](x)
                skips.append(x)
        x = self.mid_block(x, time, context)
        for block in self.up_blocks:
            for i in range(len(block.resnets)):
                x = block.layer(i, torch.cat([x, skips.pop()], dim=1), time, context)
            if block.up:
                x = block.upsamplers[0](x, skips[-1].shape[2:])
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class VaeMidBlock(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock2D(channels, channels, groups, 1e-6) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(channels, 1, groups=groups)])

    def forward(self, x):
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class VaeBlock(nn.Module):
    def __init__(self, inputs, outputs, layers, groups, down=False, up=False):
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock2D(inputs if i == 0 else outputs, outputs, groups, 1e-6) for i in range(layers))
        self.downsamplers = nn.ModuleList([Downsample2D(outputs, 0)] if down else [])
        self.upsamplers = nn.ModuleList([Upsample2D(outputs)] if up else [])

    def forward(self, x):
        for module in (*self.resnets, *self.downsamplers, *self.upsamplers):
            x = module(x)
        return x


class Encoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        channels, groups = c["block_out_channels"], c["norm_num_groups"]
        self.conv_in = nn.Conv2d(c["in_channels"], channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(VaeBlock(channels[max(i - 1, 0)], width, c["layers_per_block"], groups, down=i < len(channels) - 1)
                                         for i, width in enumerate(channels))
        self.mid_block = VaeMidBlock(channels[-1], groups)
        self.conv_norm_out = nn.GroupNorm(groups, channels[-1], 1e-6)
        self.conv_out = nn.Conv2d(channels[-1], 2 * c["latent_channels"], 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        channels, groups = c["block_out_channels"][::-1], c["norm_num_groups"]
        self.conv_in = nn.Conv2d(c["latent_channels"], channels[0], 3, padding=1)
        self.mid_block = VaeMidBlock(channels[0], groups)
        self.up_blocks = nn.ModuleList(VaeBlock(channels[max(i - 1, 0)], width, c["layers_per_block"] + 1, groups, up=i < len(channels) - 1)
                                       for i, width in enumerate(channels))
        self.conv_norm_out = nn.GroupNorm(groups, channels[-1], 1e-6)
        self.conv_out = nn.Conv2d(channels[-1], c["out_channels"], 3, padding=1)

    def forward(self, x):
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class AutoencoderKL(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = c = dict(config)
        latent = c["latent_channels"]
        self.encoder, self.decoder = Encoder(c), Decoder(c)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)

    def encode(self, image):
        """[B, 3, H, W] in -1..1 to moments [B, 8, H/8, W/8]: mean and log variance."""
        return self.quant_conv(self.encoder(image))

    def decode(self, latents):
        """[B, 4, h, w], already divided by the scaling factor, to [B, 3, 8h, 8w] in about -1..1."""
        return self.decoder(self.post_quant_conv(latents))
