// Computes:  out = activation(x): SiLU, GELU (erf form), quick GELU.
// Shapes:    dense, any; out may be x.
// Algorithm: one pass over pieces of fixed size.
#include "cpu/ops.inl.h"

namespace sdn::cpu::SDN_ISA {

namespace {

constexpr int64_t kPiece = 8192;

inline float sigmoid(float x) {
    return 1.0f / (1.0f + __builtin_expf(-x));
}

struct Work {
    const float* x;
    float* out;
    int64_t count;
    int32_t kind;
};

void run_piece(void* context, int64_t index, int) {
    const Work& w = *static_cast<const Work*>(context);
    const int64_t begin = index * kPiece, end = w.count < begin + kPiece ? w.count : begin + kPiece;
    const float* x = w.x;
    float* out = w.out;
    switch (w.kind) {
        case SDN_ACTIVATION_SILU:
            for (int64_t i = begin; i < end; ++i) out[i] = x[i] * sigmoid(x[i]);
            break;
        case SDN_ACTIVATION_GELU:
            for (int64_t i = begin; i < end; ++i) out[i] = x[i] * 0.5f * (1.0f + __builtin_erff(x[i] * 0.70710678118654752f));
            break;
        case SDN_ACTIVATION_QUICK_GELU:
            for (int64_t i = begin; i < end; ++i) out[i] = x[i] * sigmoid(1.702f * x[i]);
            break;
        default:
            for (int64_t i = begin; i < end; ++i) out[i] = x[i];
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
