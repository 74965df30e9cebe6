"""Checks torch_models.py against the reference fixtures, on the CPU in float32: python3 check_torch_models.py [tests/fixtures]

Every UNet and VAE case of fixtures/whole, within the fixtures' own tolerance. Needs torch only.
"""

import json
import sys
from pathlib import Path

import torch

from torch_models import AutoencoderKL, UNet2DConditionModel, load_weights, read_safetensors

FAMILIES = ("sd1", "sd2", "sdxl")


def config(folder):
    return json.loads((folder / "config.json").read_text())


def run_case(models, case, tensors):
    """The (got, expected) pairs of one case."""
    given = {name: tensors[key] for name, key in case["inputs"].items() if isinstance(key, str)}
    wanted = {name: tensors[key] for name, key in case["outputs"].items()}
    if case["model"] == "unet":
        batch = given["sample"].shape[0]
        steps = case["inputs"]["timestep"]
        timesteps = torch.tensor(steps if isinstance(steps, list) else [steps] * batch)
        got = models["unet"](given["sample"], timesteps, given["encoder_hidden_states"], given.get("text_embeds"), given.get("time_ids"))
        return [(got, wanted["sample"])]
    if case["model"] == "vae_encoder":
        return [(models["vae"].encode(given["image"]), wanted["moments"])]
    (key,) = wanted
    return [(models["vae"].decode(given["latent"]), wanted[key])]


def main():
    fixtures = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "tests" / "fixtures")
    torch.set_grad_enabled(False)
    failures = checked = 0
    for family in FAMILIES:
        folder = fixtures / "models" / family
        models = {"unet": load_weights(UNet2DConditionModel(config(folder / "unet")), folder / "unet").eval(),
                  "vae": load_weights(AutoencoderKL(config(folder / "vae")), folder / "vae").eval()}
        if family == "sd1":  # the old names of the attention's keys give the same model
            legacy = fixtures / "models" / "sd1_legacy_vae" / "vae"
            load_weights(AutoencoderKL(config(legacy)), legacy)
        tensors = read_safetensors(fixtures / "whole" / f"{family}.safetensors")
        for case in json.loads((fixtures / "whole" / f"{family}.json").read_text())["cases"]:
            if case["model"] not in ("unet", "vae_encoder", "vae_decoder"):
                continue
            for got, expected in run_case(models, case, tensors):
                error = ((got - expected).abs().max() / expected.abs().max()).item()
                good = got.shape == expected.shape and error <= case["tolerance"]
                checked += 1
                failures += not good
                print(f"{'ok  ' if good else 'FAIL'} {family} {case['model']:12} {list(expected.shape)!s:18} error {error:.2e} limit {case['tolerance']:.1e}")
    print(f"{checked - failures} of {checked} cases within the fixtures' limits")
    sys.exit(1 if failures or not checked else 0)


if __name__ == "__main__":
    main()
