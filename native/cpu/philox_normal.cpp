// Computes:  standard normals, those of torch.randn on a CUDA device of the given size, so that its pictures can be drawn here.
// Shapes:    out float32, dense, any.
// Algorithm: one draw of four numbers at a time over pieces of fixed size; core/philox.h says where PyTorch's grid puts them. GPUs take
//            sines and cosines from a table of theirs with an absolute error of up to 2^-21; here each function is rounded once, so the
//            numbers do not depend on the machine's math library.
#include "core/philox.h"

#include <cmath>

#include "cpu/baseline.h"

namespace sdn::cpu {

namespace {

constexpr int64_t kDrawsPerPiece = 1024;

void box_muller(uint32_t x, uint32_t y, float* first, float* second) {
    const float uniform = std::fma(static_cast<float>(x), kPhiloxUnit, kPhiloxUnit / 2);
    const float angle = std::fma(static_cast<float>(y), kPhiloxAngle, kPhiloxAngle / 2);
    const float radius = std::sqrt(-2.0f * static_cast<float>(std::log(static_cast<double>(uniform))));
    *first = static_cast<float>(std::sin(static_cast<double>(angle))) * radius + 0.0f;  // torch's mean: makes a minus zero zero
    *second = static_cast<float>(std::cos(static_cast<double>(angle))) * radius + 0.0f;
}

}  // namespace

void philox_normal(Exec& exec, const sdn_tensor& out, uint64_t seed, uint64_t offset, int32_t multiprocessors,
                   int32_t threads_per_multiprocessor) {
    if (exec.measuring()) return;
    int64_t count = 1;
    for (int i = 0; i < out.rank; ++i) count *= out.shape[i];
    const PhiloxLayout layout = philox_layout(count, multiprocessors, threads_per_multiprocessor);
    float* o = static_cast<float*>(out.data);
    parallel_for_pieces(exec, layout.threads * layout.rounds, kDrawsPerPiece, [&](int64_t begin, int64_t end) {
        for (int64_t draw = begin; draw < end; ++draw) {
            const int64_t thread = draw % layout.threads, round = draw / layout.threads;
            const PhiloxBlock bits = philox4x32_10(seed, static_cast<uint64_t>(thread), offset / 4 + static_cast<uint64_t>(round));
            float values[4];
            box_muller(bits.v[0], bits.v[1], &values[0], &values[1]);
            box_muller(bits.v[2], bits.v[3], &values[2], &values[3]);
            for (int i = 0; i < 4; ++i) {
                const int64_t at = thread + layout.threads * (4 * round + i);
                if (at < count) o[at] = values[i];
            }
        }
    });
}

}  // namespace sdn::cpu
