// Kernels written in a test, on the emulator.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "cuda/primitives/kernel.h"

namespace sdn::test {

inline cuda::Queue emulated_queue() {
    cuda::Queue queue;
    queue.limits = {80, 16, 2048, 166912, 167936, 4 << 20};
    return queue;
}

inline void run_kernel(const cuda::emulation::Shape& shape, std::function<void()> body) {
    cuda::Queue queue = emulated_queue();
    cuda::emulation::launch(queue, "planted", shape, std::move(body));
}

// What the launch fails with, or "nothing".
inline std::string fault_of(const cuda::emulation::Shape& shape, std::function<void()> body) {
    try {
        run_kernel(shape, std::move(body));
    } catch (const Error& error) {
        EXPECT_EQ(error.status(), SDN_ERROR_DEVICE);
        return error.what();
    }
    return "nothing";
}

// Sets the order of blocks, warps and threads for the life of the object.
class OrderSeed {
  public:
    explicit OrderSeed(uint64_t seed) : former_(cuda::emulation::order_seed()) { cuda::emulation::set_order_seed(seed); }
    ~OrderSeed() { cuda::emulation::set_order_seed(former_); }
    OrderSeed(const OrderSeed&) = delete;
    OrderSeed& operator=(const OrderSeed&) = delete;

  private:
    uint64_t former_;
};

inline constexpr uint64_t kSeeds = 12;  // that a fault must be found under, and a correct kernel be correct under

// With every seed, the launch fails with a text that names the kernel and has each of the fragments.
inline void expect_fault(const cuda::emulation::Shape& shape, const std::function<void()>& body,
                         std::initializer_list<const char*> fragments) {
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
        const OrderSeed order(seed);
        const std::string text = fault_of(shape, body);
        EXPECT_NE(text.find("kernel planted"), std::string::npos) << text;
        for (const char* fragment : fragments) EXPECT_NE(text.find(fragment), std::string::npos) << fragment << " is missing in: " << text;
    }
}

inline void expect_no_fault(const cuda::emulation::Shape& shape, const std::function<void()>& body) {
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
        const OrderSeed order(seed);
        EXPECT_EQ(fault_of(shape, body), "nothing");
    }
}

}  // namespace sdn::test
