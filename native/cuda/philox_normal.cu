// Computes:  standard normals, bit for bit those of torch.randn on a CUDA device: two of Box-Muller's pairs from each Philox block.
// Shapes:    out float32, dense, any.
// Algorithm: one draw of four numbers per thread; core/philox.h says where PyTorch's grid puts them.
// Launch:    ceil(draws / 256) blocks of 256 threads.
#include "core/philox.h"
#include "cuda/launchers.h"
#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int kThreads = 256;

SDN_DEVICE void box_muller(uint32_t x, uint32_t y, float* first, float* second) {
    const float uniform = fmaf(static_cast<float>(x), kPhiloxUnit, kPhiloxUnit / 2);
    const float angle = fmaf(static_cast<float>(y), kPhiloxAngle, kPhiloxAngle / 2);
    const float radius = sqrtf(-2.0f * logf(uniform));
    float sine = 0, cosine = 0;
    sin_cos_approx(angle, &sine, &cosine);  // as cuRAND does
    *first = sine * radius;
    *second = cosine * radius;
}

SDN_KERNEL void draw_normals(float* out, int64_t count, uint64_t seed, uint64_t offset, int64_t threads, int64_t draws) {
    const int64_t draw = block_x() * kThreads + thread_index();
    if (draw >= draws) return;
    const int64_t thread = draw % threads, round = draw / threads;
    const PhiloxBlock bits = philox4x32_10(seed, static_cast<uint64_t>(thread), offset / 4 + static_cast<uint64_t>(round));
    float values[4];
    box_muller(bits.v[0], bits.v[1], &values[0], &values[1]);
    box_muller(bits.v[2], bits.v[3], &values[2], &values[3]);
    SDN_UNROLL
    for (int i = 0; i < 4; ++i) {
        const int64_t at = thread + threads * (4 * round + i);
        if (at < count) out[at] = values[i] + 0.0f;  // torch computes normal * 1 + 0, where a minus zero becomes zero
    }
}

}  // namespace

void philox_normal(Exec& exec, const sdn_tensor& out, uint64_t seed, uint64_t offset, int32_t multiprocessors,
                   int32_t threads_per_multiprocessor) {
    if (exec_measuring(exec)) return;
    int64_t count = 1;
    for (int i = 0; i < out.rank; ++i) count *= out.shape[i];
    const PhiloxLayout layout = philox_layout(count, multiprocessors, threads_per_multiprocessor);
    const int64_t draws = layout.threads * layout.rounds;
    launch(exec_queue(exec), "philox_normal", draw_normals, Grid{ceil_div<int64_t>(draws, kThreads)}, kThreads, 0,
           static_cast<float*>(out.data), count, seed, offset, layout.threads, draws);
}

}  // namespace sdn::cuda::SDN_TARGET
