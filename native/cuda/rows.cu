// Ops that make rows: embedding (table lookup), gather_rows, timestep_embedding (sinusoids), with the roundings of cpu/rows.cpp.
// Shapes:    embedding ids [B,T] or [T], out [...,C]; gather_rows x [R,C], rows [M], out [M,C]; timestep_embedding t [N], out [N,dim].
// Algorithm: one element per thread and round; gather_rows moves the largest unit that divides a row.
// Launch:    blocks of 256 threads, at most 32 per multiprocessor, which stride.
#include "core/dtype.h"
#include "cuda/convert.cuh"
#include "cuda/launchers.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int kThreads = 256;

Grid grid_for(const Queue& queue, int64_t count) {
    return {min_of(ceil_div<int64_t>(count, kThreads), int64_t{32} * queue.limits.multiprocessors)};
}

// A row of NaN where an id is out of range: the host cannot look at ids without waiting for them.
SDN_KERNEL void look_up_rows(void* out, int32_t out_dtype, const int32_t* ids, int64_t count, int64_t length, int64_t columns,
                             EmbeddingWeight token, EmbeddingWeight position) {
    for (int64_t i = block_x() * kThreads + thread_index(); i < count; i += grid_x() * kThreads) {
        const int64_t row = i / columns, column = i - row * columns;
        const int32_t id = ids[row];
        float value = NAN;
        if (id >= 0 && id < token.rows) {
            value = load_float(token.data, token.storage, id * columns + column);
            if (position.data != nullptr) value += load_float(position.data, position.storage, row % length * columns + column);
        }
        store_float(out, out_dtype, i, value);
    }
}

// Rows of `units` units of `bytes`; an index out of range gives a row of `missing`, 0 or all bits set, which is NaN in every float.
SDN_KERNEL void gather_units(void* out, const void* x, const int32_t* rows, int64_t count, int64_t units, int bytes, int64_t x_rows,
                             uint32_t missing) {
    for (int64_t i = block_x() * kThreads + thread_index(); i < count; i += grid_x() * kThreads) {
        const int64_t m = i / units, at = rows[m] * units + (i - m * units);
        const bool valid = rows[m] >= 0 && rows[m] < x_rows;
        if (bytes == 16) {
            const Vec<uint32_t, 4> none{{missing, missing, missing, missing}};
            store_vec(static_cast<uint32_t*>(out) + 4 * i, valid ? load_vec<4>(static_cast<const uint32_t*>(x) + 4 * at) : none);
        } else {
            store_bits(out, bytes, i, valid ? load_bits(x, bytes, at) : missing | uint64_t{missing} << 32);
        }
    }
}

// Rounded to float32 where diffusers' get_timestep_embedding has a float32 tensor, so that the angles are the same numbers; the functions
// themselves in float64.
SDN_KERNEL void embed_timesteps(void* out, int32_t out_dtype, const float* timesteps, int64_t count, int64_t dim, float log_period,
                                float steps, bool cosines_first) {
    const int64_t half_dim = dim / 2;
    for (int64_t i = block_x() * kThreads + thread_index(); i < count; i += grid_x() * kThreads) {
        const int64_t n = i / dim, column = i - n * dim;
        float value = 0;  // the last of an odd dim
        if (column < 2 * half_dim) {
            const bool second = column >= half_dim;
            const float exponent = log_period * static_cast<float>(second ? column - half_dim : column) / steps;
            const float frequency = static_cast<float>(exp(static_cast<double>(exponent)));
            const double angle = static_cast<double>(timesteps[n] * frequency);
            value = static_cast<float>(second == cosines_first ? sin(angle) : cos(angle));
        }
        store_float(out, out_dtype, i, value);
    }
}

}  // namespace

void embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& ids, const EmbeddingWeight& token, const EmbeddingWeight* position) {
    if (exec_measuring(exec)) return;
    Queue& queue = exec_queue(exec);
    const int64_t length = ids.shape[ids.rank - 1], rows = ids.rank == 2 ? ids.shape[0] * length : length, count = rows * token.columns;
    launch(queue, "embedding", look_up_rows, grid_for(queue, count), kThreads, 0, out.data, out.dtype,
           static_cast<const int32_t*>(ids.data), count, length, token.columns, token, position != nullptr ? *position : EmbeddingWeight{});
}

void gather_rows(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor& rows) {
    if (exec_measuring(exec)) return;
    Queue& queue = exec_queue(exec);
    const int64_t row_bytes = x.shape[1] * dtype_bytes(x.dtype);
    const uintptr_t addresses = reinterpret_cast<uintptr_t>(out.data) | reinterpret_cast<uintptr_t>(x.data);
    const bool vectors = row_bytes % 16 == 0 && addresses % 16 == 0;
    const int bytes = vectors ? 16 : static_cast<int>(dtype_bytes(x.dtype));
    const int64_t units = row_bytes / bytes, count = rows.shape[0] * units;
    launch(queue, "gather_rows", gather_units, grid_for(queue, count), kThreads, 0, out.data, static_cast<const void*>(x.data),
           static_cast<const int32_t*>(rows.data), count, units, bytes, x.shape[0], is_float_dtype(x.dtype) ? 0xffffffffu : 0u);
}

void timestep_embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& timesteps, const sdn_timestep_params& params) {
    if (exec_measuring(exec)) return;
    Queue& queue = exec_queue(exec);
    const int64_t dim = out.shape[1], count = timesteps.shape[0] * dim;
    const float log_period = static_cast<float>(-log(static_cast<double>(params.max_period)));
    const float steps = static_cast<float>(static_cast<double>(dim / 2) - static_cast<double>(params.downscale_freq_shift));
    launch(queue, "timestep_embedding", embed_timesteps, grid_for(queue, count), kThreads, 0, out.data, out.dtype,
           static_cast<const float*>(timesteps.data), count, dim, log_period, steps, params.flip_sin_to_cos != 0);
}

}  // namespace sdn::cuda::SDN_TARGET
