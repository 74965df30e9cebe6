#!/bin/sh
# Builds the native library with the address and undefined-behaviour sanitizers and runs its tests.
# Usage: eng/sanitize.sh [arguments of sdn_tests]     Needs: CMake, a C++ compiler, GoogleTest.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=${SDN_SANITIZE_BUILD:-$root/artifacts/sanitize}

# -O1: half the time to compile of -O2, and the tests are short. nvcc's code would not be instrumented.
cores=$(getconf _NPROCESSORS_ONLN)
cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1 -DSDN_SANITIZE=address,undefined -DSDN_BUILD_TESTS=ON \
    -DSDN_WERROR=OFF -DSDN_CUDA=OFF
cmake --build "$build" --parallel "$cores" --target sdn_tests

export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:strict_string_checks=1:check_initialization_order=1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
# Most tests compute on one thread: a part of the tests for each core.
export GTEST_TOTAL_SHARDS="$cores"
running=""
part=0
while [ "$part" -lt "$cores" ]; do
    GTEST_SHARD_INDEX=$part "$build/bin/sdn_tests" "$@" >"$build/tests-$part.log" 2>&1 &
    running="$running $!:$part"
    part=$((part + 1))
done
code=0
for each in $running; do
    if wait "${each%%:*}"; then
        tail -n 2 "$build/tests-${each##*:}.log"
    else
        code=1
        cat "$build/tests-${each##*:}.log"
    fi
done
exit "$code"
