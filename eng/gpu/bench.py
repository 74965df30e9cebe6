"""Whole networks in PyTorch beside ours: one guided step of the UNet (batch 2) and one VAE decode, random weights, fp16 (VAE bf16).
`eng/gpu.sh bench` calls this.

bench.py [--cli PATH] [--library PATH] [--families sd15,sdxl] [--budget SECONDS]
bench.py --measure NETWORK MODE          one measurement in a process of its own, its result as JSON on the last line

PyTorch runs torch_models.py, channels last, with scaled_dot_product_attention and cuDNN's benchmark mode: eager; the eager kernels
replayed as one CUDA graph; torch.compile in its default mode, and with max-autotune where there is time. Ours is `sdn bench` of the program
given by --cli or SDN_CLI. PyTorch's times are device time between events, the median of the runs; ours are what `sdn bench` prints.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from report import Report

NETWORKS = {"sd15_unet": ("sd15", "unet_step"), "sd15_vae": ("sd15", "vae_decode"), "sdxl_unet": ("sdxl", "unet_step"),
            "sdxl_vae": ("sdxl", "vae_decode")}
MODES = ["eager", "cuda_graph", "compile", "compile_max_autotune"]
SECONDS = {"eager": 90, "cuda_graph": 90, "compile": 200, "compile_max_autotune": 300}  # a measurement may take


def make(network, device, dtype):
    """The network and its inputs at the size its family was trained at."""
    import torch

    import torch_models
    family, _ = NETWORKS[network]
    unet_config, vae_config, side = torch_models.FAMILIES[family]
    torch.manual_seed(0)
    with torch.device(device):
        if network.endswith("vae"):
            model = torch_models.AutoencoderKL(vae_config).decoder
            inputs = [torch.randn(1, 4, side, side, dtype=dtype)]
        else:
            model = torch_models.UNet2DConditionModel(unet_config)
            inputs = [torch.randn(2, 4, side, side, dtype=dtype), torch.tensor([981, 981]),
                      torch.randn(2, 77, unet_config["cross_attention_dim"], dtype=dtype)]
            if family == "sdxl":
                inputs += [torch.randn(2, 1280, dtype=dtype), torch.tensor([[side * 8.0, side * 8.0, 0, 0, side * 8.0, side * 8.0]] * 2)]
    model = model.to(dtype).eval().to(memory_format=torch.channels_last)
    return model, [t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in inputs]


def measure(network, mode, device="cuda", runs=20):
    """{"ms", "ms_min", "first_s", "peak_mib"} of one network in one mode."""
    import torch
    torch.set_grad_enabled(False)
    torch.backends.cudnn.benchmark = True
    dtype = torch.bfloat16 if network.endswith("vae") else torch.float16
    model, inputs = make(network, device, dtype)
    on_gpu = device == "cuda"
    begin = time.perf_counter()
    call = model
    if mode == "compile":
        call = torch.compile(model)
    elif mode == "compile_max_autotune":
        call = torch.compile(model, mode="max-autotune")
    out = call(*inputs)
    if on_gpu:
        torch.cuda.synchronize()
    first = time.perf_counter() - begin
    for _ in range(3):
        out = call(*inputs)
    if mode == "cuda_graph":
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = model(*inputs)
        call = lambda *_: graph.replay()  # noqa: E731
        call()
    if not torch.isfinite(out).all().item():
        raise RuntimeError("the result is not finite")
    times = []
    for _ in range(runs):
        if not on_gpu:
            begin = time.perf_counter()
            call(*inputs)
            times.append(1e3 * (time.perf_counter() - begin))
            continue
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call(*inputs)
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return dict(ms=statistics.median(times), ms_min=min(times), first_s=first, peak_mib=torch.cuda.max_memory_allocated() / 2**20 if on_gpu else 0.0)


def measured_apart(network, mode, seconds):
    """measure() in a process of its own, so that memory, compilation and faults do not spread; raises RuntimeError with the reason."""
    try:
        done = subprocess.run([sys.executable, __file__, "--measure", network, mode], capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"took more than {seconds:.0f} s") from None
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if done.returncode != 0:
        raise RuntimeError(lines[-1] if lines else f"exit code {done.returncode}")
    return json.loads(lines[-1])


def our_phases(cli, library, family, dtype, phases, seconds):
    """What `sdn bench` measured: {phase: {"seconds", "gflops", ...}}."""
    command = [cli, "bench", "--device", "cuda", "--arch", family, "--dtype", dtype, "--repeat", "10", "--json"]
    for phase in phases:
        command += ["--phase", phase]
    environment = dict(os.environ, **({"SDN_LIBRARY": library} if library else {}))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=environment)
    except FileNotFoundError:
        raise RuntimeError(f"{cli} is not there") from None
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"took more than {seconds:.0f} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"exit code {done.returncode}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    return {phase["name"]: phase for phase in result["phases"]}, result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cli", default=os.environ.get("SDN_CLI"))
    parser.add_argument("--library", default=os.environ.get("SDN_LIBRARY"))
    parser.add_argument("--families", default="sd15,sdxl")
    parser.add_argument("--budget", type=float, default=450)
    parser.add_argument("--measure", nargs=2, metavar=("NETWORK", "MODE"))
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return

    report = Report("bench", dict(network=-10, who=-22, ms=9, ms_min=9, first_s=9, peak_mib=9, gflops=9), arguments.budget)
    families = arguments.families.split(",")
    networks = [n for n, (family, _) in NETWORKS.items() if family in families]
    if arguments.cli:
        for family in families:
            for dtype, phases in (("fp16", ["text_encoder", "unet_step"]), ("bf16", ["vae_decode"])):
                try:
                    found, result = our_phases(arguments.cli, arguments.library, family, dtype, phases, min(150, max(report.left(), 1)))
                except RuntimeError as error:
                    report.not_run(f"{family} ours {dtype}", str(error))
                    continue
                for name, phase in found.items():
                    report.row(network=f"{family}_{ {'unet_step': 'unet', 'vae_decode': 'vae'}.get(name, 'text') }", who=f"ours {dtype}",
                               ms=phase["seconds"] * 1e3, peak_mib=result["peak_bytes"] / 2**20, gflops=phase["gflops"])
    else:
        report.not_run("ours", "no program: set SDN_CLI to a self-contained publish of the command line (eng/gpu.sh carry makes one)")
    for mode in MODES:
        for network in networks:
            if report.left() < 30:
                report.not_run(f"{network} torch {mode}", "no time left")
                continue
            try:
                report.row(network=network, who=f"torch {mode}", **measured_apart(network, mode, min(SECONDS[mode], report.left())))
            except RuntimeError as error:
                report.not_run(f"{network} torch {mode}", str(error))
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
