#!/usr/bin/env python3
"""The linear approximation of the demo model's decoder: least squares from latents to the mean colour of 8x8 pixels.

    python fit_preview.py --model ..        # prints the numbers of src/StableDiffusion/Pipelines/LatentRgb.cs
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from networks import AutoencoderKL
from scenes import draw_scene, render

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", type=Path, default=Path(__file__).parent.parent)
parser.add_argument("--scenes", type=int, default=512)
args = parser.parse_args()

config = json.loads((args.model / "vae" / "config.json").read_text())
vae = AutoencoderKL(config).eval()
vae.load_state_dict({k: v.float() for k, v in load_file(next((args.model / "vae").glob("*.safetensors"))).items()})
rng = np.random.default_rng(0)
rows, colours = [], []
with torch.no_grad():
    for _ in range(0, args.scenes, 32):
        images = render([draw_scene(rng) for _ in range(32)], "cpu")
        latents = vae.encode(images)[0] * config["scaling_factor"]
        rows.append(latents.permute(0, 2, 3, 1).reshape(-1, 4))
        colours.append(F.avg_pool2d(vae.decode(latents / config["scaling_factor"]), 8).permute(0, 2, 3, 1).reshape(-1, 3))
x, y = torch.cat(rows).double(), torch.cat(colours).double()
x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
factors = torch.linalg.lstsq(x, y).solution
for row in factors.tolist():
    print("[" + ", ".join(f"{v:.4f}" for v in row) + "],")
print(f"error {(x @ factors - y).square().mean().sqrt():.4f} rms of a range of 2")
