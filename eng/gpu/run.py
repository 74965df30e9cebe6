"""The stages of eng/gpu.sh: run.py build|test|sanitize|parity|bench. See there."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from report import ROOT, Report, out_folder

BUILD = Path(os.environ.get("SDN_GPU_BUILD") or ROOT / "artifacts" / "gpu-build")
TESTS = BUILD / "bin" / "sdn_tests"
LIBRARY = BUILD / "lib" / "libsdn.so"
HERE = Path(__file__).resolve().parent


def run(command, seconds, **more):
    """(exit code or None where it took too long, its output)."""
    try:
        done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=max(seconds, 1), **more)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        return None, output.decode(errors="replace") if isinstance(output, bytes) else output
    except OSError as error:
        return 127, str(error)


def last_line(text):
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no output"


def architecture():
    """"90" on an H200; SDN_GPU_ARCH where nvidia-smi does not tell."""
    if os.environ.get("SDN_GPU_ARCH"):
        return os.environ["SDN_GPU_ARCH"]
    code, output = run(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"], 30)
    capability = output.strip().splitlines()[0].strip() if code == 0 and output.strip() else ""
    return capability.replace(".", "") if re.fullmatch(r"\d+\.\d+", capability) else "90"


def googletest():
    """Where GoogleTest is: GTEST_ROOT, .gtest (what `eng/gpu.sh carry` makes), or None for wherever CMake looks."""
    for folder in (os.environ.get("GTEST_ROOT"), ROOT / ".gtest"):
        if folder and (Path(folder) / "include" / "gtest" / "gtest.h").exists():
            return Path(folder).resolve()
    return None


def build():
    report = Report("build", dict(what=-14, ok=4, seconds=9, detail=-80))
    for tool, command in (("nvcc", ["nvcc", "--version"]), ("g++", ["g++", "--version"]), ("cmake", ["cmake", "--version"]),
                          ("gpu", ["nvidia-smi", "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"])):
        code, output = run(command, 30)
        text = re.search(r"release .*", output).group(0) if tool == "nvcc" and "release" in output else output.strip().splitlines()[0] if output.strip() else ""
        report.fact(tool, text if code == 0 else f"not there ({last_line(output)})")
    arch = architecture()
    configure = ["cmake", "-S", ROOT, "-B", BUILD, "-DCMAKE_BUILD_TYPE=Release", "-DSDN_CUDA=ON", f"-DSDN_CUDA_ARCHITECTURES={arch}-real",
                 "-DSDN_EMULATION=OFF"]
    if shutil.which("ninja") and not (BUILD / "Makefile").exists():
        configure += ["-G", "Ninja"]
    gtest = googletest()
    if gtest:
        configure += [f"-DGTEST_ROOT={gtest}", f"-DCMAKE_PREFIX_PATH={gtest}"]
    begin = time.monotonic()
    code, output = run(configure, report.left())
    (out_folder() / "build.log").write_text(output)
    report.row(what="configure", ok=code == 0, seconds=time.monotonic() - begin, detail=f"sm_{arch}" if code == 0 else last_line(output))
    if code != 0:
        return report.finish()
    has_tests = "SDN_BUILD_TESTS:BOOL=ON" in (BUILD / "CMakeCache.txt").read_text()
    jobs = os.cpu_count() or 2
    for target in ["sdn"] + (["sdn_tests"] if has_tests else []):
        begin = time.monotonic()
        code, output = run(["cmake", "--build", BUILD, "--target", target, "--parallel", jobs], report.left())
        with open(out_folder() / "build.log", "a") as log:
            log.write(output)
        errors = [line for line in output.splitlines() if re.search(r"\berror\b", line)]
        detail = "took too long" if code is None else "" if code == 0 else (errors or [last_line(output)])[0].strip()
        report.row(what=target, ok=code == 0, seconds=time.monotonic() - begin, detail=detail)
    if not has_tests:
        report.not_run("sdn_tests", "no GoogleTest: set GTEST_ROOT to a folder with include/gtest and lib/libgtest.a")
    return report.finish()


def list_tests(pattern):
    """{suite: [full names]} of the tests that match a GoogleTest filter."""
    code, output = run([TESTS, "--gtest_list_tests", f"--gtest_filter={pattern}"], 60)
    suites, suite = {}, None
    for line in output.splitlines() if code == 0 else []:
        if re.match(r"\S+\.(\s|$)", line):
            suite = line.split()[0]
        elif suite and line.startswith("  "):
            suites.setdefault(suite.rstrip("."), []).append(suite + line.split()[0])
    return suites


def has_tests(report):
    if TESTS.exists():
        return True
    report.not_run("sdn_tests", f"{TESTS} is not there: run `eng/gpu.sh build` first, with GoogleTest")
    return False


GPU_TESTS = "*/gpu:Cuda*:*Device*"  # the tests of EachDevice on cuda:0, and those of devices themselves


def test():
    report = Report("test", dict(suite=-44, ok=4, tests=6, skipped=8, failed=7, seconds=9, detail=-60))
    if not has_tests(report):
        return report.finish()
    for suite, names in list_tests(f"{GPU_TESTS}:-*/emulated").items():
        if report.left() <= 0:
            report.not_run(suite, "no time left")
            continue
        results = out_folder() / "gtest.part"
        begin = time.monotonic()
        code, output = run([TESTS, f"--gtest_filter={':'.join(names)}", f"--gtest_output=json:{results}"], report.left(),
                           env=dict(os.environ, SDN_CUDA_SYNC="1"))
        cases = []
        if results.exists():
            cases = [case for part in json.loads(results.read_text())["testsuites"] for case in part["testsuite"]]
            results.unlink()
        failed = [case["name"] for case in cases if case.get("failures")]
        skipped = sum(case.get("result") == "SKIPPED" for case in cases)
        if code is None:
            detail = "took too long"
        elif not cases and code != 0:
            detail = f"ended with code {code}: {last_line(output)}"
        else:
            detail = ", ".join(failed)
        if failed or not cases:
            with open(out_folder() / "test.log", "a") as log:
                log.write(output)
        report.row(suite=suite, ok=code == 0, tests=len(cases), skipped=skipped, failed=len(failed), seconds=time.monotonic() - begin, detail=detail)
    return report.finish()


SANITIZERS = ["memcheck", "racecheck", "synccheck", "initcheck"]


def sanitize():
    report = Report("sanitize", dict(tool=-10, suite=-44, ok=4, errors=7, seconds=9, detail=-60))
    if not has_tests(report):
        return report.finish()
    if not shutil.which("compute-sanitizer"):
        report.not_run("compute-sanitizer", "it is not installed here")
        return report.finish()
    suites = {suite: [n for n in names if n.endswith("/gpu")] for suite, names in list_tests("*/gpu").items()}
    for tool in SANITIZERS:
        for suite, names in suites.items():
            if report.left() <= 0:
                report.not_run(f"{tool} {suite}", "no time left")
                continue
            begin = time.monotonic()
            code, output = run(["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", TESTS, f"--gtest_filter={':'.join(names)}"],
                               min(90, report.left()), env=dict(os.environ, SDN_CUDA_SYNC="1"))
            summary = re.search(r"(?:ERROR|RACECHECK) SUMMARY: (\d+)", output)
            if code is None:
                report.not_run(f"{tool} {suite}", f"took more than {time.monotonic() - begin:.0f} s")
            elif not summary:
                complaint = re.search(r"=+ (?:Error|Warning|Target)[^\n]*", output)
                report.not_run(f"{tool} {suite}", complaint.group(0).strip("= ") if complaint else last_line(output))
                if re.search("not supported|Unable to|Failed to initialize", output):
                    report.not_run(tool, "it refuses this machine")
                    break
            else:
                errors = int(summary.group(1))
                first = next((line.strip("= ") for line in output.splitlines() if re.match(r"=+ (?!COMPUTE|ERROR SUMMARY|RACECHECK SUMMARY)\S", line)), "")
                if errors:
                    with open(out_folder() / "sanitize.log", "a") as log:
                        log.write(f"==== {tool} {suite}\n{output}\n")
                report.row(tool=tool, suite=suite, ok=errors == 0 and code == 0, errors=errors, seconds=time.monotonic() - begin,
                           detail=first if errors else "" if code == 0 else f"the tests ended with code {code}")
    return report.finish()


def parity(arguments):
    if not LIBRARY.exists():
        sys.exit(f"{LIBRARY} is not there: run `eng/gpu.sh build` first")
    code = subprocess.run([sys.executable, HERE / "parity.py", LIBRARY, *arguments]).returncode
    return max(code, pictures())


# The same picture on the CPU and the GPU: model, prompt, further arguments.
PICTURES = [("models/shapes", "a red circle on a blue background", ["--steps", "10"]),
            ("tests/fixtures/models/sd1", "a cat", ["--steps", "6", "--size", "64"]),
            ("tests/fixtures/models/sd2", "a cat", ["--steps", "6", "--size", "64"]),
            ("tests/fixtures/models/sdxl", "a cat", ["--steps", "6", "--size", "64"])]


def pictures(device="cuda", library=LIBRARY):
    """Whole runs through the command line: final latents on the GPU against the CPU's in float32."""
    from torch_models import read_safetensors
    report = Report("pictures", dict(model=-28, dtype=5, error=10, limit=10, ok=4, seconds=9, detail=-60), budget=120)
    cli = os.environ.get("SDN_CLI")
    if not cli:
        report.not_run("pictures", "no program: set SDN_CLI to a self-contained publish of the command line (eng/gpu.sh carry makes one)")
        return 0
    folder = BUILD / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ, SDN_LIBRARY=str(library))

    def latents(where, dtype, model, prompt, arguments):
        path = folder / f"{Path(model).name}-{where}-{dtype}.safetensors"
        code, output = run([cli, "generate", prompt, "--model", ROOT / model, "--seed", "7", "--device", where, "--dtype", dtype, "--quiet",
                            "--save-latents", path, "--output", path.with_suffix(".png"), *arguments], report.left(), env=environment)
        if code != 0:
            raise RuntimeError(f"{where} {dtype}: " + ("took too long" if code is None else last_line(output)))
        return read_safetensors(path)["latents"].double()

    # fp32: the end-to-end fixtures' limit. Their reference errs by at most 20 units of float32 (tests/fixtures/manifest.json: 1.2e-6), so
    # 20 units of a 16-bit dtype, and twice that as other sums round otherwise.
    limits = {"fp32": 5e-5, "fp16": 40 * 2.0**-11, "bf16": 40 * 2.0**-8}
    for model, prompt, arguments in PICTURES:
        try:
            expected = latents("cpu", "fp32", model, prompt, arguments)
        except RuntimeError as error:
            report.not_run(model, str(error))
            continue
        for dtype, limit in limits.items():
            begin = time.monotonic()
            try:
                got = latents(device, dtype, model, prompt, arguments)
            except RuntimeError as error:
                report.row(model=model, dtype=dtype, ok=False, detail=str(error))
                continue
            error = ((got - expected).abs().max() / expected.abs().max()).item()
            report.row(model=model, dtype=dtype, error=error, limit=limit, ok=error <= limit, seconds=time.monotonic() - begin)
    return report.finish()


def bench(arguments):
    environment = dict(os.environ)
    if LIBRARY.exists():
        environment.setdefault("SDN_LIBRARY", str(LIBRARY))
    return subprocess.run([sys.executable, HERE / "bench.py", *arguments], env=environment).returncode


def main():
    stages = {"build": build, "test": test, "sanitize": sanitize, "parity": parity, "bench": bench}
    if len(sys.argv) < 2 or sys.argv[1] not in stages:
        sys.exit(f"usage: eng/gpu.sh {'|'.join(stages)}")
    stage = stages[sys.argv[1]]
    sys.exit(stage(sys.argv[2:]) if stage in (parity, bench) else stage())


if __name__ == "__main__":
    main()
