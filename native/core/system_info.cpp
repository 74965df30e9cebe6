#include "core/system_info.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(_M_X64)
#include <intrin.h>
#endif
#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#elif defined(__linux__)
#include <sched.h>
#else
#include <unistd.h>
#endif

namespace sdn {

// ---- memory and control groups -------------------------------------------------------------------------------------------

namespace {

std::string read_text(const std::string& path) {
    std::ifstream file(path);
    std::ostringstream text;
    if (file) text << file.rdbuf();
    return text.str();
}

// The number a file holds, or `otherwise` where it is missing or holds no number ("max").
int64_t read_number(const std::string& path, int64_t otherwise) {
    std::ifstream file(path);
    int64_t value;
    return file >> value ? value : otherwise;
}

// The value of a line "key value" or "key: value", or 0.
int64_t find_value(const std::string& text, const std::string& key) {
    std::istringstream lines(text);
    std::string line;
    while (std::getline(lines, line)) {
        if (line.compare(0, key.size(), key) != 0 || line.size() <= key.size()) continue;
        const char after = line[key.size()];
        if (after == ' ' || after == ':') return std::atoll(line.c_str() + key.size() + 1);
    }
    return 0;
}

struct CgroupFolders {
    std::vector<std::string> unified, memory, cpu;  // this process's group first, then its parents up to the root
};

std::vector<std::string> with_parents(const std::string& root, std::string path) {
    std::vector<std::string> folders;
    while (!path.empty() && path != "/") {
        folders.push_back(root + path);
        path.erase(path.rfind('/'));
    }
    folders.push_back(root);  // in a container the path may not exist below its own mount: the root then is its group
    return folders;
}

CgroupFolders find_cgroups(const std::string& root, const std::string& proc_self_cgroup) {
    CgroupFolders folders;
    std::istringstream lines(proc_self_cgroup);
    std::string line;
    while (std::getline(lines, line)) {  // "4:memory:/path" or, version 2, "0::/path"
        const size_t first = line.find(':'), second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos || second + 1 >= line.size() || line[second + 1] != '/') continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",", path = line.substr(second + 1);
        if (controllers == ",,") folders.unified = with_parents(root, path);
        if (controllers.find(",memory,") != std::string::npos) folders.memory = with_parents(root + "/memory", path);
        if (controllers.find(",cpu,") != std::string::npos) folders.cpu = with_parents(root + "/cpu", path);
    }
    return folders;
}

void tighten(MemoryInfo& info, int64_t limit, int64_t used, int64_t reclaimable) {
    info.total_bytes = std::min(info.total_bytes, limit);
    info.free_bytes = std::min(info.free_bytes, std::max<int64_t>(0, limit - std::max<int64_t>(0, used - reclaimable)));
}

}  // namespace

MemoryInfo read_cgroup_memory(const std::string& root, const std::string& proc_self_cgroup) {
    MemoryInfo info{INT64_MAX, INT64_MAX};
    const CgroupFolders groups = find_cgroups(root, proc_self_cgroup);
    for (const std::string& folder : groups.unified) {
        const int64_t limit = read_number(folder + "/memory.max", -1);
        if (limit < 0) continue;
        tighten(info, limit, read_number(folder + "/memory.current", 0), find_value(read_text(folder + "/memory.stat"), "inactive_file"));
    }
    for (const std::string& folder : groups.memory) {
        const int64_t limit = read_number(folder + "/memory.limit_in_bytes", -1);
        if (limit < 0 || limit >= (int64_t{1} << 60)) continue;  // version 1 writes a huge number for "no limit"
        tighten(info, limit, read_number(folder + "/memory.usage_in_bytes", 0),
                find_value(read_text(folder + "/memory.stat"), "total_inactive_file"));
    }
    return info;
}

double read_cgroup_cpus(const std::string& root, const std::string& proc_self_cgroup) {
    double cpus = 0;
    const auto limit_to = [&](double quota, double period) {
        if (quota > 0 && period > 0) cpus = cpus > 0 ? std::min(cpus, quota / period) : quota / period;
    };
    const CgroupFolders groups = find_cgroups(root, proc_self_cgroup);
    for (const std::string& folder : groups.unified) {
        double quota = 0, period = 0;
        std::istringstream text(read_text(folder + "/cpu.max"));  // "200000 100000" or "max 100000"
        if (text >> quota >> period) limit_to(quota, period);
    }
    for (const std::string& folder : groups.cpu)
        limit_to(static_cast<double>(read_number(folder + "/cpu.cfs_quota_us", -1)),
                 static_cast<double>(read_number(folder + "/cpu.cfs_period_us", 0)));
    return cpus;
}

MemoryInfo read_memory_info() {
#if defined(_WIN32)
    MEMORYSTATUSEX status;
    status.dwLength = sizeof status;
    GlobalMemoryStatusEx(&status);
    return {static_cast<int64_t>(status.ullTotalPhys), static_cast<int64_t>(status.ullAvailPhys)};
#elif defined(__linux__)
    const std::string text = read_text("/proc/meminfo");
    MemoryInfo info{find_value(text, "MemTotal") * 1024, find_value(text, "MemAvailable") * 1024};
    const MemoryInfo limit = read_cgroup_memory("/sys/fs/cgroup", read_text("/proc/self/cgroup"));
    info.total_bytes = std::min(info.total_bytes, limit.total_bytes);
    info.free_bytes = std::min(info.free_bytes, limit.free_bytes);
    return info;
#else
    const int64_t total = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
    return {total, total};
#endif
}

int available_threads() {
    int threads = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
    cpu_set_t mask;
    if (sched_getaffinity(0, sizeof mask, &mask) == 0) threads = CPU_COUNT(&mask);
    const double cpus = read_cgroup_cpus("/sys/fs/cgroup", read_text("/proc/self/cgroup"));
    if (cpus > 0) threads = std::min(threads, static_cast<int>(std::ceil(cpus)));
#endif
    return std::max(threads, 1);
}

// ---- processor -----------------------------------------------------------------------------------------------------------

#if defined(__x86_64__) || defined(_M_X64)

namespace {

struct CpuidWords {
    uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidWords cpuid(uint32_t leaf, uint32_t subleaf = 0) {
    CpuidWords words;
#if defined(_MSC_VER)
    int values[4];
    __cpuid(values, static_cast<int>(leaf & 0x80000000u));
    if (static_cast<uint32_t>(values[0]) < leaf) return words;
    __cpuidex(values, static_cast<int>(leaf), static_cast<int>(subleaf));
    std::memcpy(&words, values, sizeof words);
#else
    if (!__get_cpuid_count(leaf, subleaf, &words.eax, &words.ebx, &words.ecx, &words.edx)) return {};
#endif
    return words;
}

bool bit(uint32_t word, int index) {
    return (word >> index & 1) != 0;
}

// Register state that the operating system saves: bits 1, 2 are SSE and AVX, 5 to 7 AVX-512.
bool system_saves(uint64_t state) {
    if (!bit(cpuid(1).ecx, 27)) return false;  // OSXSAVE
#if defined(_MSC_VER)
    const uint64_t enabled = _xgetbv(0);
#else
    uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    const uint64_t enabled = static_cast<uint64_t>(high) << 32 | low;
#endif
    return (enabled & state) == state;
}

}  // namespace

bool cpu_has_avx2() {
    const uint32_t features = cpuid(1).ecx;
    return system_saves(0x6) && bit(features, 12) && bit(features, 29) && bit(cpuid(7).ebx, 5);  // FMA, F16C, AVX2
}

bool cpu_has_avx512() {
    const uint32_t features = cpuid(7).ebx;
    return cpu_has_avx2() && system_saves(0xe6) && bit(features, 16) && bit(features, 17) && bit(features, 30) && bit(features, 31);
}

bool cpu_has_avx512bf16() {
    return cpu_has_avx512() && bit(cpuid(7, 1).eax, 5);
}

bool cpu_pairs_are_fast() {
    const CpuidWords vendor = cpuid(0);  // "Auth" "enti" "cAMD"
    return cpu_has_avx512bf16() && vendor.ebx == 0x68747541 && vendor.edx == 0x69746e65 && vendor.ecx == 0x444d4163;
}

bool cpu_has_avx512vnni() {
    return cpu_has_avx512() && bit(cpuid(7).ecx, 11);
}

bool cpu_has_avx512fp16() {
    return cpu_has_avx512() && bit(cpuid(7).edx, 23);
}

std::string cpu_name() {
    char text[49] = "";
    for (uint32_t i = 0; i < 3; ++i) {
        const CpuidWords words = cpuid(0x80000002u + i);
        std::memcpy(text + 16 * i, &words, 16);
    }
    std::string name(text);
    name.erase(0, std::min(name.find_first_not_of(' '), name.size()));
    name.erase(name.find_last_not_of(' ') + 1);
    return name.empty() ? "unknown CPU" : name;
}

#else

bool cpu_has_avx2() {
    return false;
}
bool cpu_has_avx512() {
    return false;
}
bool cpu_has_avx512bf16() {
    return false;
}
bool cpu_pairs_are_fast() {
    return false;
}
bool cpu_has_avx512vnni() {
    return false;
}
bool cpu_has_avx512fp16() {
    return false;
}

std::string cpu_name() {
#if defined(__linux__)
    std::istringstream lines(read_text("/proc/cpuinfo"));
    std::string line;
    while (std::getline(lines, line))
        if (line.compare(0, 10, "model name") == 0 && line.find(": ") != std::string::npos) return line.substr(line.find(": ") + 2);
#endif
    return "unknown CPU";
}

#endif

}  // namespace sdn
