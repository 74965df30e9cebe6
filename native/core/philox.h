// The random numbers of PyTorch's CUDA generator, as both backends compute them: the Philox4x32-10 block function (J. Salmon et al.,
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and the grid that decides which draw goes where.
#pragma once

#include <cstdint>

namespace sdn {

struct PhiloxBlock {
    uint32_t v[4];
};

// Ten rounds over the counter {position, position >> 32, subsequence, subsequence >> 32} with the seed as the key.
constexpr PhiloxBlock philox4x32_10(uint64_t seed, uint64_t subsequence, uint64_t position) {
    uint32_t c0 = static_cast<uint32_t>(position), c1 = static_cast<uint32_t>(position >> 32);
    uint32_t c2 = static_cast<uint32_t>(subsequence), c3 = static_cast<uint32_t>(subsequence >> 32);
    uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        const uint64_t p0 = uint64_t{0xD2511F53u} * c0, p1 = uint64_t{0xCD9E8D57u} * c2;
        c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
        c1 = static_cast<uint32_t>(p1);
        c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
        c3 = static_cast<uint32_t>(p0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// 32 random bits as a number in (0, 1] and as an angle in (0, 2 pi]: bits * kPhiloxUnit + half of that, with the constants of cuRAND,
// which are float products.
inline constexpr float kPhiloxUnit = 2.3283064e-10f;
inline constexpr float kPhiloxAngle = 2.3283064e-10f * 6.2831855f;

inline constexpr int32_t kPhiloxBlockThreads = 256;  // of PyTorch's random kernels

// How torch.randn spreads `count` numbers over the GPU (calc_execution_policy in ATen/native/cuda/DistributionTemplates.h): blocks of 256
// threads, as many as are needed but at most those resident at once. Thread t is subsequence t; each of its `rounds` draws of four numbers
// fills the elements t + threads * (4 * round + 0..3).
struct PhiloxLayout {
    int64_t threads;
    int64_t rounds;

    uint64_t draws() const { return 4 * static_cast<uint64_t>(rounds); }  // by which the generator's offset grows
};

constexpr PhiloxLayout philox_layout(int64_t count, int32_t multiprocessors, int32_t threads_per_multiprocessor) {
    constexpr int64_t kBlock = kPhiloxBlockThreads;
    const int64_t needed = (count + kBlock - 1) / kBlock, resident = multiprocessors * (threads_per_multiprocessor / kBlock);
    const int64_t threads = kBlock * (needed < resident ? needed : resident);
    return {threads, (count - 1) / (4 * threads) + 1};
}

}  // namespace sdn
