#!/usr/bin/env bash
# Builds, tests and measures on a machine with a GPU. It needs nvcc (12.4 or newer), g++, CMake and, from `parity` on, PyTorch; no .NET and
# no network.
#
#   eng/gpu.sh build       the library and its tests for this GPU's architecture, in artifacts/gpu-build
#   eng/gpu.sh test        the native tests on cuda:0
#   eng/gpu.sh sanitize    compute-sanitizer's memcheck, racecheck, synccheck and initcheck over the op tests
#   eng/gpu.sh parity      every op at the shapes of SD 1.5, SDXL and the VAE against PyTorch: errors, and times beside each other;
#                          with SDN_CLI also whole pictures, GPU against CPU
#   eng/gpu.sh bench       whole networks: PyTorch eager, as a CUDA graph and compiled, and `sdn bench`
#   eng/gpu.sh carry       on a machine with .NET and GoogleTest: makes .gtest and .cli, which the above use where that machine has neither
#
# Each stage takes less than eight minutes and writes STAGE.json and STAGE.txt to $OUT (artifacts/gpu where that is unset) as it goes; what
# cannot run is reported as "not run" with the reason. Exit code 0: something ran and nothing failed.
#
# GTEST_ROOT      GoogleTest's folder (include/, lib/), where the system has none        SDN_CLI       the command line's program
# PYTHON          the Python that has PyTorch, instead of python3
# SDN_GPU_ARCH    architecture to build for, such as 90, instead of the GPU's own        SDN_GPU_BUILD build folder
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

carry() {
    rm -rf .gtest .cli
    mkdir -p .gtest/include .gtest/lib
    for folder in "${GTEST_ROOT:-/usr}" /usr /usr/local; do
        [ -e "$folder/include/gtest/gtest.h" ] || continue
        cp -r "$folder/include/gtest" .gtest/include/
        find "$folder/lib" "$folder/lib64" -name 'libgtest*.a' -exec cp {} .gtest/lib/ \; 2>/dev/null || true
        break
    done
    ls .gtest/lib/libgtest.a >/dev/null || { echo "gpu.sh: no static GoogleTest here: install libgtest-dev" >&2; exit 1; }
    dotnet publish src/StableDiffusion.Cli -c Release -r linux-x64 --self-contained -o .cli \
        -p:PublishTrimmed=true -p:TrimMode=partial -p:SuppressTrimAnalysisWarnings=true -p:DebugType=none -p:InvariantGlobalization=true \
        -p:JsonSerializerIsReflectionEnabledByDefault=true
    du -sh .gtest .cli
}

stage=${1:-}
[ "$stage" = carry ] && { carry; exit; }
if [ -z "${SDN_CLI:-}" ] && [ -x .cli/StableDiffusion.Cli ]; then export SDN_CLI="$root/.cli/StableDiffusion.Cli"; fi
command -v "${PYTHON:-python3}" >/dev/null || { echo "gpu.sh: no python3 here; PYTHON may name one" >&2; exit 1; }
PYTHONUNBUFFERED=1 exec timeout --signal=INT 475 "${PYTHON:-python3}" eng/gpu/run.py "$@"
