#include "core/system_info.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support.h"

namespace sdn::test {

constexpr int64_t kMiB = 1 << 20;

#if defined(__linux__)

namespace {

namespace fs = std::filesystem;

// A made-up /sys/fs/cgroup.
class CgroupTree {
  public:
    CgroupTree() {
        std::string pattern = (fs::temp_directory_path() / "sdn-cgroup-XXXXXX").string();
        root_ = mkdtemp(pattern.data());
    }
    ~CgroupTree() { fs::remove_all(root_); }
    void write(const std::string& path, const std::string& text) const {
        fs::create_directories((root_ / path).parent_path());
        std::ofstream(root_ / path) << text << '\n';
    }
    std::string root() const { return root_.string(); }

  private:
    fs::path root_;
};

}  // namespace

TEST(CgroupMemory, Version2_TakesTheTightestParentAndIgnoresFileCache) {
    const CgroupTree tree;
    tree.write("memory.max", "max");
    tree.write("a/memory.max", std::to_string(900 * kMiB));
    tree.write("a/memory.current", std::to_string(500 * kMiB));
    tree.write("a/memory.stat", "anon 1\ninactive_file " + std::to_string(100 * kMiB) + "\nactive_file 7");
    tree.write("a/b/memory.max", std::to_string(1000 * kMiB));
    tree.write("a/b/memory.current", std::to_string(100 * kMiB));
    const MemoryInfo info = read_cgroup_memory(tree.root(), "0::/a/b\n");
    EXPECT_EQ(info.total_bytes, 900 * kMiB);
    EXPECT_EQ(info.free_bytes, (900 - 400) * kMiB);
}

TEST(CgroupMemory, Version1_ReadsItsController) {
    const CgroupTree tree;
    tree.write("memory/job/memory.limit_in_bytes", std::to_string(300 * kMiB));
    tree.write("memory/job/memory.usage_in_bytes", std::to_string(400 * kMiB));
    tree.write("memory/memory.limit_in_bytes", "9223372036854771712");
    const MemoryInfo info = read_cgroup_memory(tree.root(), "9:cpuset:/\n4:memory:/job\n0::/\n");
    EXPECT_EQ(info.total_bytes, 300 * kMiB);
    EXPECT_EQ(info.free_bytes, 0);  // over its limit, not negative
}

// In a container the group's path is the host's, but its files are at the root of the mount.
TEST(CgroupMemory, PathOutsideTheMount_FallsBackToTheRoot) {
    const CgroupTree tree;
    tree.write("memory.max", std::to_string(64 * kMiB));
    tree.write("memory.current", "0");
    EXPECT_EQ(read_cgroup_memory(tree.root(), "0::/docker/0123").total_bytes, 64 * kMiB);
}

TEST(CgroupMemory, WithoutLimits_IsUnlimited) {
    const CgroupTree tree;
    for (const char* text : {"", "0::/\n", "nonsense", "1:memory:/x"})
        EXPECT_EQ(read_cgroup_memory(tree.root(), text).total_bytes, INT64_MAX);
}

TEST(CgroupCpus, Quota_IsADividedByB) {
    const CgroupTree tree;
    tree.write("a/cpu.max", "150000 100000");
    tree.write("b/cpu.max", "max 100000");
    tree.write("cpu/c/cpu.cfs_quota_us", "50000");
    tree.write("cpu/c/cpu.cfs_period_us", "100000");
    tree.write("cpu/d/cpu.cfs_quota_us", "-1");
    tree.write("cpu/d/cpu.cfs_period_us", "100000");
    EXPECT_DOUBLE_EQ(read_cgroup_cpus(tree.root(), "0::/a"), 1.5);
    EXPECT_DOUBLE_EQ(read_cgroup_cpus(tree.root(), "0::/b"), 0);
    EXPECT_DOUBLE_EQ(read_cgroup_cpus(tree.root(), "3:cpu,cpuacct:/c"), 0.5);
    EXPECT_DOUBLE_EQ(read_cgroup_cpus(tree.root(), "3:cpu,cpuacct:/d"), 0);
}

#endif

TEST(Machine, Memory_IsPlausible) {
    const MemoryInfo info = read_memory_info();
    EXPECT_GT(info.total_bytes, 64 * kMiB);
    EXPECT_GT(info.free_bytes, 0);
    EXPECT_LE(info.free_bytes, info.total_bytes);
    EXPECT_GE(available_threads(), 1);
    EXPECT_FALSE(cpu_name().empty());
}

}  // namespace sdn::test
