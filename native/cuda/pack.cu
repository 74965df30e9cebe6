// Computes:  the packed form of a weight (cuda/kernel_api.h) from its logical rows, the sums its phases need, and the logical rows again
// Shapes:    source [row_count, in, kh, kw] dense; packed [rows, row_stride] in the order (ky, kx, c); phases [4, rows, phase_row_stride]
// Algorithm: one thread per element of the result. Bits are copied where the dtypes agree; else one rounding to nearest even.
// Launch:    ceil(elements / 256) blocks of 256 threads.
#include <bit>

#include "cuda/launchers.h"
#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int kThreads = 256;

SDN_DEVICE int64_t element_index() {
    return block_x() * kThreads + thread_index();
}
Grid grid_of(int64_t elements) {
    return Grid{ceil_div<int64_t>(elements, kThreads)};
}

// A float that rounds to 16 bits as the double does: rounded to odd, and a float has more than two digits to spare.
SDN_DEVICE float round_to_odd(double value) {
    const float nearest = static_cast<float>(value);
    const double back = static_cast<double>(nearest);
    if (back == value || value != value) return nearest;
    uint32_t bits = std::bit_cast<uint32_t>(nearest);
    if (fabs(back) > fabs(value)) --bits;
    return std::bit_cast<float>(bits | 1u);
}

template <class T>
SDN_DEVICE T rounded(double value) {
    if constexpr (std::is_same_v<T, float>)
        return static_cast<float>(value);
    else
        return from_float<T>(round_to_odd(value));
}
template <class T>
SDN_DEVICE T rounded(float value) {
    return from_float<T>(value);
}

// Element i of data, which is of any floating dtype, as a T.
template <class T>
SDN_DEVICE T read_as(const void* data, int32_t dtype, int64_t i) {
    switch (dtype) {
        case SDN_FLOAT64:
            return rounded<T>(static_cast<const double*>(data)[i]);
        case SDN_FLOAT16:
            if constexpr (std::is_same_v<T, half>) return static_cast<const half*>(data)[i];
            return rounded<T>(to_float(static_cast<const half*>(data)[i]));
        case SDN_BFLOAT16:
            if constexpr (std::is_same_v<T, bfloat16>) return static_cast<const bfloat16*>(data)[i];
            return rounded<T>(to_float(static_cast<const bfloat16*>(data)[i]));
        default:
            return rounded<T>(static_cast<const float*>(data)[i]);
    }
}

template <class T>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 1) convert_elements(T* out, const void* x, int32_t dtype, int64_t count) {
    const int64_t i = element_index();
    if (i < count) out[i] = read_as<T>(x, dtype, i);
}

// Logical rows of a geglu weight are values, then gates.
SDN_DEVICE int64_t packed_row(const MatrixWeight& w, int64_t row) {
    if (!w.geglu) return row;
    const int64_t values = w.rows / 2;
    return row < values ? 2 * row : 2 * (row - values) + 1;
}

SDN_DEVICE int64_t channels_of(const MatrixWeight& w) {
    return w.columns / (w.kernel_height * w.kernel_width);
}

// Where column (ky, kx, c) of a packed row lies in the logical one: (c, ky, kx).
SDN_DEVICE int64_t logical_column(const MatrixWeight& w, int64_t column) {
    const int64_t channels = channels_of(w), tap = column / channels;
    return (column - tap * channels) * (w.columns / channels) + tap;
}

template <class T>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 1)
    pack_elements(const MatrixWeight w, const void* source, int32_t dtype, int64_t first_row, int64_t row_count) {
    const int64_t i = element_index(), row = i / w.row_stride, column = i - row * w.row_stride;
    if (row >= row_count) return;
    T value = from_float<T>(0.0f);
    if (column < w.columns) value = read_as<T>(source, dtype, row * w.columns + logical_column(w, column));
    static_cast<T*>(w.data)[packed_row(w, first_row + row) * w.row_stride + column] = value;
}

template <class T>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 1) unpack_elements(const MatrixWeight w, T* values) {
    const int64_t i = element_index(), row = i / w.columns, column = i - row * w.columns;
    if (row >= w.rows) return;
    values[row * w.columns + logical_column(w, column)] = static_cast<const T*>(w.data)[packed_row(w, row) * w.row_stride + column];
}

SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 1)
    pack_bias_elements(const MatrixWeight w, const void* source, int32_t dtype, int64_t first_row, int64_t row_count) {
    const int64_t i = element_index();
    if (i < row_count) w.bias[packed_row(w, first_row + i)] = read_as<float>(source, dtype, i);
}

SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 1) unpack_bias_elements(const MatrixWeight w, float* bias) {
    const int64_t i = element_index();
    if (i < w.rows) bias[i] = w.bias != nullptr ? w.bias[packed_row(w, i)] : 0.0f;
}

// Of 3 taps along an axis those that fall on pixel `i` of the 2 that phase `p` sees: 0 | 1,2 and 0,1 | 2.
struct Taps {
    int64_t first, last;
};
SDN_DEVICE Taps taps_on(int64_t p, int64_t i) {
    return i == 0 ? Taps{0, p} : Taps{p + 1, 2};
}

template <class T>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 1) sum_phase_taps(const MatrixWeight w) {
    const int64_t i = element_index(), row_of_all = i / w.phase_row_stride, column = i - row_of_all * w.phase_row_stride;
    const int64_t phase = row_of_all / w.rows, row = row_of_all - phase * w.rows;
    if (phase >= 4) return;
    const int64_t channels = channels_of(w), pixel = column / channels, channel = column - pixel * channels;
    float sum = 0;
    if (pixel < 4) {
        const Taps y = taps_on(phase / 2, pixel / 2), x = taps_on(phase % 2, pixel % 2);
        for (int64_t ky = y.first; ky <= y.last; ++ky)
            for (int64_t kx = x.first; kx <= x.last; ++kx)
                sum += to_float(static_cast<const T*>(w.data)[row * w.row_stride + (ky * 3 + kx) * channels + channel]);
    }
    static_cast<T*>(w.phases)[i] = from_float<T>(sum);
}

// Calls visit with a null T* of the storage type.
template <class Visit>
void with_type(int32_t dtype, Visit visit) {
    if (dtype == SDN_FLOAT16)
        visit(static_cast<half*>(nullptr));
    else if (dtype == SDN_BFLOAT16)
        visit(static_cast<bfloat16*>(nullptr));
    else
        visit(static_cast<float*>(nullptr));
}

}  // namespace

void pack_rows(Queue& queue, const MatrixWeight& weight, const void* source, int32_t source_dtype, int64_t first_row, int64_t row_count) {
    with_type(weight.storage, [&]<class T>(T*) {
        launch(queue, "pack_rows", pack_elements<T>, grid_of(row_count * weight.row_stride), kThreads, 0, weight, source, source_dtype,
               first_row, row_count);
    });
}

void pack_bias(Queue& queue, const MatrixWeight& weight, const void* source, int32_t source_dtype, int64_t first_row, int64_t row_count) {
    launch(queue, "pack_bias", pack_bias_elements, grid_of(row_count), kThreads, 0, weight, source, source_dtype, first_row, row_count);
}

void pack_phases(Queue& queue, const MatrixWeight& weight) {
    with_type(weight.storage, [&]<class T>(T*) {
        launch(queue, "pack_phases", sum_phase_taps<T>, grid_of(4 * weight.rows * weight.phase_row_stride), kThreads, 0, weight);
    });
}

void unpack_rows(Queue& queue, const MatrixWeight& weight, void* values) {
    with_type(weight.storage, [&]<class T>(T*) {
        launch(queue, "unpack_rows", unpack_elements<T>, grid_of(weight.rows * weight.columns), kThreads, 0, weight,
               static_cast<T*>(values));
    });
}

void unpack_bias(Queue& queue, const MatrixWeight& weight, float* bias) {
    launch(queue, "unpack_bias", unpack_bias_elements, grid_of(weight.rows), kThreads, 0, weight, bias);
}

void convert(Queue& queue, void* out, int32_t out_dtype, const void* x, int32_t x_dtype, int64_t count) {
    if (count == 0) return;
    with_type(out_dtype, [&]<class T>(T*) {
        launch(queue, "convert", convert_elements<T>, grid_of(count), kThreads, 0, static_cast<T*>(out), x, x_dtype, count);
    });
}

}  // namespace sdn::cuda::SDN_TARGET
