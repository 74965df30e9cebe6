// Computes:  out = activation(x): SiLU, GELU (erf form), quick GELU, ReLU, tanh.
// Shapes:    dense, any; out may be x.
// Algorithm: one pass over pieces of fixed size.
#include "cpu/ops.inl.h"
#include "cpu/simd/math.inl.h"

namespace sdn::cpu::SDN_ISA {

namespace {

constexpr int64_t kPiece = 8192;

struct Work {
    const float* x;
    float* out;
    int64_t count;
    int32_t kind;
};

template <class Function>
SDN_INLINE void map(const float* x, float* out, int64_t count, Function function) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) store(out + i, function(load(x + i)));
    if (i < count) store_partial(out + i, function(load_partial(x + i, count - i)), count - i);
}

void run_piece(void* context, int64_t index, int) {
    const Work& w = *static_cast<const Work*>(context);
    const int64_t begin = index * kPiece, count = w.count - begin < kPiece ? w.count - begin : kPiece;
    const float* x = w.x + begin;
    float* out = w.out + begin;
    switch (w.kind) {
        case SDN_ACTIVATION_SILU:
            return map(x, out, count, [](vec v) { return silu(v); });
        case SDN_ACTIVATION_GELU:
            return map(x, out, count, [](vec v) { return gelu(v); });
        case SDN_ACTIVATION_QUICK_GELU:
            return map(x, out, count, [](vec v) { return quick_gelu(v); });
        case SDN_ACTIVATION_RELU:
            return map(x, out, count, [](vec v) { return relu(v); });
        case SDN_ACTIVATION_TANH:
            return map(x, out, count, [](vec v) { return tanh(v); });
        default:
            return map(x, out, count, [](vec v) { return v; });
    }
}

}  // namespace

void activation(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, int32_t kind) {
    if (exec_measuring(exec)) return;
    Work work{static_cast<const float*>(x.data), static_cast<float*>(out.data), 1, kind};
    for (int i = 0; i < x.rank; ++i) work.count *= x.shape[i];
    exec_parallel_for(exec, (work.count + kPiece - 1) / kPiece, run_piece, &work);
}

}  // namespace sdn::cpu::SDN_ISA
