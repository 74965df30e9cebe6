// What the machine and its limits give to this process.
#pragma once

#include <cstdint>
#include <string>

namespace sdn {

struct MemoryInfo {
    int64_t total_bytes = 0;  // the smaller of RAM and the cgroup limits
    int64_t free_bytes = 0;   // the smaller of available RAM and what the cgroup limits leave
};

MemoryInfo read_memory_info();

// Memory limits of the control groups that `proc_self_cgroup` (the text of /proc/self/cgroup) names, and of their parents, version 1 or
// 2, mounted below `root` (/sys/fs/cgroup). Reclaimable file cache does not count as used. No limit: INT64_MAX for both.
MemoryInfo read_cgroup_memory(const std::string& root, const std::string& proc_self_cgroup);

// Cores' worth of time that the same control groups allow, or 0 where they set no limit.
double read_cgroup_cpus(const std::string& root, const std::string& proc_self_cgroup);

// Threads worth starting: the cores this process may run on, at most the control group's share rounded up. At least 1.
int available_threads();

// "AMD EPYC 9R14"; "unknown CPU" where the processor does not say.
std::string cpu_name();

// Instruction sets that both processor and system support, as the CPU kernels need them.
bool cpu_has_avx2();        // AVX2, FMA, F16C
bool cpu_has_avx512();      // AVX-512 F, BW, VL, DQ besides
bool cpu_has_avx512bf16();  // AVX-512 and AVX512_BF16
bool cpu_has_avx512vnni();  // AVX-512 and AVX512_VNNI
bool cpu_has_avx512fp16();  // AVX-512 and AVX512_FP16

// Whether AVX512_BF16 multiplies pairs of bfloat16 faster than AVX-512 multiplies float32: on AMD processors (Zen 4 and later) at twice the
// rate; on Intel's, with two float32 units and one for pairs, at half to once.
bool cpu_pairs_are_fast();

}  // namespace sdn
