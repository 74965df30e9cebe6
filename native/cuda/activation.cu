// Computes:  out = activation(x): SiLU, GELU (erf form), quick GELU, ReLU, tanh.
// Shapes:    dense, any; out may be x.
// Algorithm: one pass, 16 bytes per thread; element by element where the addresses are not multiples of 16.
// Launch:    grid ceil(count / (256 * width)), 256 threads.
#include "cuda/activations.h"
#include "cuda/dispatch.h"
#include "cuda/launchers.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int kThreads = 256;

template <class T, int kWidth>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 1) activation_elementwise(T* out, const T* x, int64_t count, int32_t kind) {
    const int64_t first = (block_x() * kThreads + thread_index()) * kWidth;
    if (first + kWidth <= count) {
        Vec<T, kWidth> values = load_vec<kWidth>(x + first);
        SDN_UNROLL
        for (int i = 0; i < kWidth; ++i) values[i] = from_float<T>(activate_exact(to_float(values[i]), kind));
        store_vec(out + first, values);
    } else {
        for (int64_t i = first; i < count; ++i) out[i] = from_float<T>(activate_exact(to_float(x[i]), kind));
    }
}

}  // namespace

void activation(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, int32_t kind) {
    if (exec_measuring(exec)) return;
    int64_t count = 1;
    for (int i = 0; i < x.rank; ++i) count *= x.shape[i];
    with_element_type(x.dtype, [&](auto element) {
        using T = decltype(element);
        constexpr int kWidth = 16 / sizeof(T);
        const auto run = [&](const char* name, auto kernel, int width) {
            launch(exec_queue(exec), name, kernel, Grid{ceil_div(count, int64_t{kThreads} * width)}, kThreads, 0, static_cast<T*>(out.data),
                   static_cast<const T*>(x.data), count, kind);
        };
        if (is_aligned(x.data) && is_aligned(out.data))
            run("sm80_activation_vectors", activation_elementwise<T, kWidth>, kWidth);
        else
            run("sm80_activation_elements", activation_elementwise<T, 1>, 1);
    });
}

}  // namespace sdn::cuda::SDN_TARGET
