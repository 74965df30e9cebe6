// Ops that make rows: embedding (table lookup), gather_rows, timestep_embedding (sinusoids).
#include <cmath>
#include <cstring>

#include "core/dtype.h"
#include "core/error.h"
#include "cpu/baseline.h"

namespace sdn::cpu {

namespace {

int64_t row_piece(int64_t columns) {
    return columns < kElementPiece ? kElementPiece / columns : 1;
}

void check_indices(const int32_t* indices, int64_t count, int64_t rows, const char* what, const char* table) {
    for (int64_t i = 0; i < count; ++i)
        if (indices[i] < 0 || indices[i] >= rows)
            fail(SDN_ERROR_INVALID_ARGUMENT, "%s[%lld] is %d, but %s has rows 0 to %lld", what, static_cast<long long>(i), indices[i],
                 table, static_cast<long long>(rows - 1));
}

const char* row_of(const EmbeddingWeight& weight, int64_t row) {
    return static_cast<const char*>(weight.data) + row * weight.columns * dtype_bytes(weight.storage);
}

}  // namespace

void embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& ids, const EmbeddingWeight& token, const EmbeddingWeight* position) {
    const int64_t columns = token.columns, length = ids.shape[ids.rank - 1], rows = ids.rank == 2 ? ids.shape[0] * length : length;
    // One row per thread for the positions in float32, to add them.
    float* added = static_cast<float*>(exec.scratch_alloc(exec.device().threads() * columns * 4));
    if (!exec.measuring()) {
        const int32_t* id = static_cast<const int32_t*>(ids.data);
        check_indices(id, rows, token.rows, "ids", "the token table");
        const int64_t piece = row_piece(columns);
        parallel_for(exec, (rows + piece - 1) / piece, [&](int64_t index, int thread) {
            float* add = added + thread * columns;
            for (int64_t m = index * piece; m < rows && m < (index + 1) * piece; ++m) {
                float* o = static_cast<float*>(out.data) + m * columns;
                convert(o, SDN_FLOAT32, row_of(token, id[m]), token.storage, columns);
                if (position == nullptr) continue;
                convert(add, SDN_FLOAT32, row_of(*position, m % length), position->storage, columns);
                for (int64_t i = 0; i < columns; ++i) o[i] += add[i];
            }
        });
    }
    exec.scratch_free(added);
}

void gather_rows(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor& rows) {
    if (exec.measuring()) return;
    const int32_t* indices = static_cast<const int32_t*>(rows.data);
    const int64_t bytes = x.shape[1] * dtype_bytes(x.dtype);
    check_indices(indices, rows.shape[0], x.shape[0], "rows", "x");
    parallel_for_pieces(exec, rows.shape[0], row_piece(x.shape[1]), [&](int64_t begin, int64_t end) {
        for (int64_t m = begin; m < end; ++m)
            std::memcpy(static_cast<char*>(out.data) + m * bytes, static_cast<const char*>(x.data) + indices[m] * bytes,
                        static_cast<size_t>(bytes));
    });
}

// Rounded to float32 where diffusers' get_timestep_embedding has a float32 tensor, so that the angles are the same numbers.
void timestep_embedding(Exec& exec, const sdn_tensor& out, const sdn_tensor& timesteps, const sdn_timestep_params& params) {
    if (exec.measuring()) return;
    const int64_t dim = out.shape[1], half = dim / 2;
    const float* t = static_cast<const float*>(timesteps.data);
    const float log_period = static_cast<float>(-std::log(static_cast<double>(params.max_period)));
    const float steps = static_cast<float>(static_cast<double>(half) - static_cast<double>(params.downscale_freq_shift));
    parallel_for_pieces(exec, timesteps.shape[0], row_piece(dim * 16), [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
            float* row = static_cast<float*>(out.data) + n * dim;
            float* sines = row + (params.flip_sin_to_cos != 0 ? half : 0);
            float* cosines = row + (params.flip_sin_to_cos != 0 ? 0 : half);
            for (int64_t i = 0; i < half; ++i) {
                const float exponent = log_period * static_cast<float>(i) / steps;
                const float frequency = static_cast<float>(std::exp(static_cast<double>(exponent)));
                const double angle = static_cast<double>(t[n] * frequency);
                sines[i] = static_cast<float>(std::sin(angle));
                cosines[i] = static_cast<float>(std::cos(angle));
            }
            if (dim % 2 != 0) row[dim - 1] = 0;
        }
    });
}

}  // namespace sdn::cpu
