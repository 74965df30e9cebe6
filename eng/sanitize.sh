#!/bin/sh
# Builds the native library with the address and undefined-behaviour sanitizers and runs its tests.
# Usage: eng/sanitize.sh [arguments of sdn_tests]     Needs: CMake, a C++ compiler, GoogleTest.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=${SDN_SANITIZE_BUILD:-$root/artifacts/sanitize}

# -O1: half the time to compile of -O2, and the tests are short.
cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1 -DSDN_SANITIZE=address,undefined -DSDN_BUILD_TESTS=ON -DSDN_WERROR=OFF
cmake --build "$build" --parallel "$(getconf _NPROCESSORS_ONLN)"
ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:strict_string_checks=1:check_initialization_order=1} \
UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1} \
    "$build/bin/sdn_tests" "$@"
