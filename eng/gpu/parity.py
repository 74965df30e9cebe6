"""Our ops against PyTorch: errors at real shapes, and times beside each other. `eng/gpu.sh parity` calls this.

parity.py LIBRARY [--device cuda:0|cpu|cuda:emulated] [--dtypes fp16,bf16,fp32] [--only TEXT] [--tiny]

Times are of replays of a captured graph of repeated calls on the same memory, on both sides, so what fits the L2 cache is in it. PyTorch
runs the same work in eager mode, channels last, with cuDNN's benchmark mode and scaled_dot_product_attention; where our op fuses what
PyTorch has separate kernels for (bias, time embedding, residual, activation, concatenation), all of these count. Float32 is compared
without TF32 and not timed.
"""

import argparse
import itertools
import sys

import torch

import sdn
from cases import all_cases, tiny_cases
from report import Report

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def torch_seconds(function, target=0.02):
    """Of one call, as Exec.seconds()."""
    calls = 10
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            function()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            function()

    def timed(replays):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(replays):
            graph.replay()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / (replays * calls)

    timed(2)
    replays = max(1, min(200, int(target / (max(timed(1), 1e-7) * calls))))
    return sorted(timed(replays) for _ in range(3))[1]


def peak_error(got, expected):
    difference = (got.double() - expected).abs().max() / expected.abs().max().clamp(min=1e-300)
    return difference.item()  # NaN where any value is


def run_case(report, device, case, name, timing):
    dtype, where = DTYPES[name], "cuda" if device.name.startswith("cuda:") and device.name != "cuda:emulated" else "cpu"
    made = case.make(device, where, dtype)
    if where == "cuda":
        torch.cuda.synchronize()
    run = sdn.Exec(device, made.ours)
    row = dict(family=case.family, what=case.what, dtype=name)
    try:
        kernels = run.run()
        expected = made.exact()
        error = peak_error(made.out, expected)
        row.update(error=error, limit=made.limit, ok=bool(error <= made.limit))
        row.update(torch_error=peak_error(made.theirs(), expected))
        if timing:
            ours, theirs = run.seconds(), torch_seconds(made.theirs)
            rate = made.flops / ours / 1e12 if made.flops else made.moved / ours / 1e9
            row.update(us=ours * 1e6, torch_us=theirs * 1e6, speedup=theirs / ours, rate=rate, unit="TFLOP/s" if made.flops else "GB/s")
        row.update(kernels=kernels)
    finally:
        run.close()
        for weight in made.weights:
            device.close_weight(weight)
    report.row(**row)


def philox_rows(report, device):
    """Our normals against torch.randn's on this GPU: the same bits."""
    for count in (4 * 64 * 64, 2 * 4 * 128 * 128, 5_000_011):
        out = torch.zeros(count, device="cuda")
        torch.cuda.synchronize()
        run = sdn.Exec(device, lambda e: e.philox_normal(out, 1234))
        kernels = run.run()
        run.close()
        expected = torch.randn(count, device="cuda", generator=torch.Generator("cuda").manual_seed(1234))
        different = (out != expected).sum().item()
        report.row(family="noise", what=f"torch.randn of {count}", dtype="fp32", error=(out - expected).abs().max().item(), limit=0.0,
                   ok=different == 0, kernels=kernels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--dtypes", default="fp16,bf16,fp32")
    parser.add_argument("--only", default="", help="cases whose family or description contain this")
    parser.add_argument("--tiny", action="store_true", help="small shapes, for machines without a GPU")
    parser.add_argument("--budget", type=float, default=420, help="seconds after which what is left is reported as not run")
    arguments = parser.parse_args()

    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    report = Report("parity", dict(family=-6, what=-46, dtype=5, error=10, limit=10, torch_error=11, ok=4, us=9, torch_us=9, speedup=7,
                                   rate=9, unit=-8, kernels=-40), arguments.budget)
    try:
        library = sdn.Library(arguments.library)
        device = sdn.Device(library, arguments.device)
    except (OSError, sdn.SdnError) as error:
        report.not_run("parity", str(error))
        sys.exit(report.finish())
    on_gpu = arguments.device.startswith("cuda:") and arguments.device != "cuda:emulated"
    info = device.info()
    report.fact("library", library.build_info())
    report.fact("device", f"{info.name.decode()}, {info.instruction_set.decode()}, {info.multiprocessors} multiprocessors")
    report.fact("torch", torch.__version__)
    if on_gpu:
        report.fact("mma.sync peak TFLOP/s", round(device.peak_gflops() / 1e3, 1))
        philox_rows(report, device)
    cases = [c for c in (tiny_cases() if arguments.tiny else all_cases()) if arguments.only in f"{c.family} {c.what}"]
    for name, case in itertools.product(arguments.dtypes.split(","), cases):
        if report.left() <= 0:
            report.not_run(f"{case.family} {case.what} {name}", "no time left")
            continue
        try:
            run_case(report, device, case, name, timing=on_gpu and name != "fp32")
        except (sdn.SdnError, torch.OutOfMemoryError) as error:
            report.row(family=case.family, what=case.what, dtype=name, ok=False, kernels=str(error).splitlines()[0])
        if on_gpu:
            torch.cuda.empty_cache()
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
