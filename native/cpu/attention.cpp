// Computes:  out = softmax(scale * q k^T) v per head.
// Shapes:    q, out [B,Sq,H*D], k, v [B,Sk,H*D], any strides with the last 1.
// Algorithm: per query one pass over the keys with a running maximum (online softmax).
#include "cpu/gemm/plain.inl.h"

namespace sdn::cpu::SDN_ISA {

namespace {

constexpr int64_t kQueryBlock = 8;

struct Work {
    const sdn_tensor &out, &q, &k, &v;
    const sdn_attention_params& params;
    int64_t queries, keys, dim, blocks;
};

const float* row_of(const sdn_tensor& t, int64_t b, int64_t row, int64_t channel) {
    return static_cast<const float*>(t.data) + b * t.stride[0] + row * t.stride[1] + channel;
}

void run_block(void* context, int64_t index, int) {
    const Work& w = *static_cast<const Work*>(context);
    const int64_t block = index % w.blocks, head = index / w.blocks % w.params.heads, b = index / w.blocks / w.params.heads;
    const int64_t dim = w.dim, end = (block + 1) * kQueryBlock < w.queries ? (block + 1) * kQueryBlock : w.queries;
    for (int64_t i = block * kQueryBlock; i < end; ++i) {
        const float* q = row_of(w.q, b, i, head * dim);
        const int64_t keys = w.params.causal != 0 ? i + 1 : w.keys;
        float maximum = -__builtin_inff(), sum = 0, values[512] = {};
        for (int64_t j = 0; j < keys; ++j) {
            const float* k = row_of(w.k, b, j, head * dim);
            const float* v = row_of(w.v, b, j, head * dim);
            float score = 0;
            for (int64_t d = 0; d < dim; ++d) score += q[d] * k[d];
            score *= w.params.scale;
            if (score > maximum) {
                const float shrink = __builtin_expf(maximum - score);
                maximum = score;
                sum *= shrink;
                for (int64_t d = 0; d < dim; ++d) values[d] *= shrink;
            }
            const float p = __builtin_expf(score - maximum);
            sum += p;
            for (int64_t d = 0; d < dim; ++d) values[d] += p * v[d];
        }
        float* out = const_cast<float*>(row_of(w.out, b, i, head * dim));
        for (int64_t d = 0; d < dim; ++d) out[d] = values[d] / sum;
    }
}

}  // namespace

void attention(Exec& exec, const sdn_tensor& out, const sdn_tensor& q, const sdn_tensor& k, const sdn_tensor& v,
               const sdn_attention_params& params) {
    if (exec_measuring(exec)) return;
    Work w{out, q, k, v, params, q.shape[1], k.shape[1], q.shape[2] / params.heads, (q.shape[1] + kQueryBlock - 1) / kQueryBlock};
    exec_parallel_for(exec, q.shape[0] * params.heads * w.blocks, run_block, &w);
}

}  // namespace sdn::cpu::SDN_ISA
