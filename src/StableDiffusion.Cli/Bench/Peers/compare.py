"""What `bench --compare` runs in PyTorch: a request as JSON on stdin, a JSON object per line on stdout.

{"probe": true} tells the versions of torch and diffusers, null for what cannot be imported. Else one guided UNet step and one VAE decode are
timed with random weights, the best of some runs behind one that does not count: in plain PyTorch (torch_models.py) or in diffusers.
"""

import json
import sys
import time


def version(name):
    try:
        return str(__import__(name).__version__)
    except Exception:  # an installation may be broken in any way
        return None


def make(torch, models, config):
    """A model of random weights, made without the slow initialisation of its class."""
    with torch.device("meta"):
        model = models.from_config(config) if hasattr(models, "from_config") else models(config)
    model = model.to_empty(device="cpu").eval()
    for name, p in model.named_parameters():
        if p.dim() > 1:
            p.uniform_(-1, 1).mul_((3 / p[0].numel()) ** 0.5)
        else:
            p.fill_(0 if name.endswith("bias") else 1)
    return model


def calls(request, torch):
    """(phase, what to time), one at a time, so that only one model is in memory."""
    if request["package"] == "diffusers":
        from diffusers import AutoencoderKL, UNet2DConditionModel
    else:
        from torch_models import AutoencoderKL, UNet2DConditionModel
    diffusers = request["package"] == "diffusers"
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[request["dtype"]]
    batch, height, width = request["batch"], request["height"], request["width"]
    image = lambda n: torch.randn(n, 4, height, width).to(dtype, memory_format=torch.channels_last)  # noqa: E731
    for phase in request["phases"]:
        if phase == "unet_step":
            config = request["unet"]
            unet = make(torch, UNet2DConditionModel, config).to(dtype, memory_format=torch.channels_last)
            x, steps = image(2 * batch), torch.full((2 * batch,), 500)
            context = torch.randn(2 * batch, 77, request["context"]).to(dtype)
            pooled = ids = None
            if config["addition_embed_type"]:
                pooled = torch.randn(2 * batch, config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]).to(dtype)
                ids = torch.tensor([[8.0 * height, 8.0 * width, 0, 0, 8.0 * height, 8.0 * width]] * (2 * batch))

            def step():
                if diffusers:
                    added = None if pooled is None else {"text_embeds": pooled, "time_ids": ids}
                    noise = unet(x, steps, encoder_hidden_states=context, added_cond_kwargs=added).sample
                else:
                    noise = unet(x, steps, context, pooled, ids)
                negative, positive = noise.chunk(2)
                return negative + 7.5 * (positive - negative)

            yield phase, step
            del unet
        else:
            vae, z = make(torch, AutoencoderKL, request["vae"]).to(dtype, memory_format=torch.channels_last), image(1)
            yield phase, lambda: [vae.decode(z) for _ in range(batch)]
            del vae


def main():
    request = json.load(sys.stdin)
    if request.get("probe"):
        print(json.dumps({name: version(name) for name in ("torch", "diffusers")}))
        return
    import torch
    torch.set_num_threads(request["threads"])
    torch.set_grad_enabled(False)
    for phase, call in calls(request, torch):
        times = []
        for _ in range(request["repeat"] + 1):
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
        print(json.dumps({"phase": phase, "seconds": min(times[1:])}), flush=True)


main()
