// Computes:  out[i] = (dtype of out) x[i].
// Shapes:    equal, any strides; a stride of 0 in x repeats.
// Algorithm: dimensions that continue each other are joined; then either rows that are contiguous in out are converted one by one, or,
//            where x is contiguous along another dimension (a transposition), square tiles, so that both sides use whole cache lines.
#include <cmath>
#include <cstring>
#include <limits>

#include "core/dtype.h"
#include "core/dtype_inline.h"
#include "cpu/baseline.h"

namespace sdn::cpu {

namespace {

struct Half {
    uint16_t bits;
};
struct BFloat16 {
    uint16_t bits;
};

template <class T>
constexpr bool is_real = std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

// A value of a 16-bit type as float, everything else as itself.
inline float widen(Half value) {
    return baseline::float_from_half(value.bits);
}
inline float widen(BFloat16 value) {
    return baseline::float_from_bfloat16(value.bits);
}
template <class T>
inline T widen(T value) {
    return value;
}

template <class Out, class In>
inline Out narrow(In value) {
    if constexpr (std::is_same_v<Out, In>) {
        return value;
    } else if constexpr (std::is_same_v<Out, Half>) {
        if constexpr (std::is_same_v<In, float>)
            return {baseline::half_from_float(value)};
        else
            return {half_from_double(static_cast<double>(value))};
    } else if constexpr (std::is_same_v<Out, BFloat16>) {
        if constexpr (std::is_same_v<In, float>)
            return {baseline::bfloat16_from_float(value)};
        else
            return {bfloat16_from_double(static_cast<double>(value))};
    } else if constexpr (is_real<Out>) {
        return static_cast<Out>(value);
    } else {
        using Limits = std::numeric_limits<Out>;
        if constexpr (is_real<In>) {
            // Limits::max() may round up to a power of two when it becomes a float: hence >=.
            if (!(value == value)) return 0;
            if (value <= static_cast<In>(Limits::min())) return Limits::min();
            if (value >= static_cast<In>(Limits::max())) return Limits::max();
        } else {
            if (static_cast<int64_t>(value) < static_cast<int64_t>(Limits::min())) return Limits::min();
            if (static_cast<int64_t>(value) > static_cast<int64_t>(Limits::max())) return Limits::max();
        }
        return static_cast<Out>(value);
    }
}

using RowFunction = void (*)(void* out, int64_t out_stride, const void* x, int64_t x_stride, int64_t count);

template <class Out, class In>
void convert_row(void* out, int64_t out_stride, const void* x, int64_t x_stride, int64_t count) {
    Out* o = static_cast<Out*>(out);
    const In* s = static_cast<const In*>(x);
    const auto value_of = [](In value) {
        if constexpr (std::is_same_v<Out, In>)
            return value;
        else
            return narrow<Out>(widen(value));
    };
    if (out_stride == 1 && x_stride == 1) {
        for (int64_t i = 0; i < count; ++i) o[i] = value_of(s[i]);
    } else if (out_stride == 1 && x_stride == 0) {
        const Out value = value_of(*s);
        for (int64_t i = 0; i < count; ++i) o[i] = value;
    } else {
        for (int64_t i = 0; i < count; ++i) o[i * out_stride] = value_of(s[i * x_stride]);
    }
}

template <class Out>
RowFunction choose_from(int32_t x_dtype) {
    switch (x_dtype) {
        case SDN_FLOAT32:
            return convert_row<Out, float>;
        case SDN_FLOAT16:
            return convert_row<Out, Half>;
        case SDN_BFLOAT16:
            return convert_row<Out, BFloat16>;
        case SDN_FLOAT64:
            return convert_row<Out, double>;
        case SDN_INT32:
            return convert_row<Out, int32_t>;
        case SDN_INT64:
            return convert_row<Out, int64_t>;
        default:
            return convert_row<Out, uint8_t>;
    }
}

RowFunction choose(int32_t out_dtype, int32_t x_dtype) {
    switch (out_dtype) {
        case SDN_FLOAT32:
            return choose_from<float>(x_dtype);
        case SDN_FLOAT16:
            return choose_from<Half>(x_dtype);
        case SDN_BFLOAT16:
            return choose_from<BFloat16>(x_dtype);
        case SDN_FLOAT64:
            return choose_from<double>(x_dtype);
        case SDN_INT32:
            return choose_from<int32_t>(x_dtype);
        case SDN_INT64:
            return choose_from<int64_t>(x_dtype);
        default:
            return choose_from<uint8_t>(x_dtype);
    }
}

// The copy as loops: shape and strides from the outermost to the innermost loop. Sorted by out's strides, joined, without ones.
struct Loops {
    int rank = 0;
    int64_t shape[4], out_stride[4], x_stride[4];
};

Loops plan(const sdn_tensor& out, const sdn_tensor& x) {
    Loops loops;
    for (int i = 0; i < out.rank; ++i) {
        if (out.shape[i] == 1) continue;
        int at = loops.rank++;
        for (; at > 0 && loops.out_stride[at - 1] < out.stride[i]; --at) {
            loops.shape[at] = loops.shape[at - 1];
            loops.out_stride[at] = loops.out_stride[at - 1];
            loops.x_stride[at] = loops.x_stride[at - 1];
        }
        loops.shape[at] = out.shape[i];
        loops.out_stride[at] = out.stride[i];
        loops.x_stride[at] = x.stride[i];
    }
    int joined = 0;  // the last loop so far
    for (int i = 1; i < loops.rank; ++i) {
        if (loops.out_stride[joined] == loops.shape[i] * loops.out_stride[i] &&
            loops.x_stride[joined] == loops.shape[i] * loops.x_stride[i])
            loops.shape[joined] *= loops.shape[i];
        else
            loops.shape[++joined] = loops.shape[i];
        loops.out_stride[joined] = loops.out_stride[i];
        loops.x_stride[joined] = loops.x_stride[i];
    }
    if (loops.rank == 0) return {1, {1}, {1}, {1}};
    loops.rank = joined + 1;
    return loops;
}

constexpr int64_t kTile = 32;  // of a transposition, in elements
constexpr int64_t kTilesPerPiece = 32;

// The loop along which x is contiguous, where that is not the innermost one; otherwise -1.
int transposed_loop(const Loops& loops) {
    const int inner = loops.rank - 1;
    if (loops.x_stride[inner] <= 1) return -1;
    for (int i = 0; i < inner; ++i)
        if (loops.x_stride[i] == 1) return i;
    return -1;
}

struct Pointers {
    char* out;
    const char* x;
    int64_t out_bytes, x_bytes;

    Pointers at(int64_t out_offset, int64_t x_offset) const {
        return {out + out_offset * out_bytes, x + x_offset * x_bytes, out_bytes, x_bytes};
    }
};

// Splits a linear index over the loops other than `skip_a` and `skip_b` into element offsets.
Pointers locate(const Pointers& base, const Loops& loops, int64_t index, int skip_a, int skip_b) {
    int64_t out_offset = 0, x_offset = 0;
    for (int i = loops.rank - 1; i >= 0; --i) {
        if (i == skip_a || i == skip_b) continue;
        out_offset += index % loops.shape[i] * loops.out_stride[i];
        x_offset += index % loops.shape[i] * loops.x_stride[i];
        index /= loops.shape[i];
    }
    return base.at(out_offset, x_offset);
}

void copy_tiles(Exec& exec, const Pointers& base, const Loops& loops, int across, RowFunction row) {
    const int inner = loops.rank - 1;
    const int64_t tiles_inner = (loops.shape[inner] + kTile - 1) / kTile, tiles_across = (loops.shape[across] + kTile - 1) / kTile;
    int64_t outer = 1;
    for (int i = 0; i < inner; ++i)
        if (i != across) outer *= loops.shape[i];
    parallel_for_pieces(exec, outer * tiles_across * tiles_inner, kTilesPerPiece, [&](int64_t begin, int64_t end) {
        for (int64_t tile = begin; tile < end; ++tile) {
            const Pointers plane = locate(base, loops, tile / (tiles_across * tiles_inner), inner, across);
            const int64_t i0 = tile % tiles_inner * kTile, j0 = tile / tiles_inner % tiles_across * kTile;
            const int64_t i_count = loops.shape[inner] - i0 < kTile ? loops.shape[inner] - i0 : kTile;
            const int64_t j_end = loops.shape[across] < j0 + kTile ? loops.shape[across] : j0 + kTile;
            for (int64_t j = j0; j < j_end; ++j) {
                const Pointers p = plane.at(i0 * loops.out_stride[inner] + j * loops.out_stride[across],
                                            i0 * loops.x_stride[inner] + j * loops.x_stride[across]);
                row(p.out, loops.out_stride[inner], p.x, loops.x_stride[inner], i_count);
            }
        }
    });
}

void copy_rows(Exec& exec, const Pointers& base, const Loops& loops, bool same_dtype, RowFunction row) {
    const int inner = loops.rank - 1;
    const int64_t length = loops.shape[inner];
    const int64_t pieces_per_row = (length + kElementPiece - 1) / kElementPiece;
    const int64_t rows_per_piece = length < kElementPiece ? kElementPiece / length : 1;
    const bool plain = same_dtype && loops.out_stride[inner] == 1 && loops.x_stride[inner] == 1;
    int64_t rows = 1;
    for (int i = 0; i < inner; ++i) rows *= loops.shape[i];
    parallel_for_pieces(exec, rows * pieces_per_row, rows_per_piece, [&](int64_t begin, int64_t end) {
        for (int64_t index = begin; index < end; ++index) {
            const int64_t first = index % pieces_per_row * kElementPiece;
            const int64_t count = length - first < kElementPiece ? length - first : kElementPiece;
            const Pointers p = locate(base, loops, index / pieces_per_row, inner, inner)
                                   .at(first * loops.out_stride[inner], first * loops.x_stride[inner]);
            if (plain)
                std::memcpy(p.out, p.x, static_cast<size_t>(count * p.out_bytes));
            else
                row(p.out, loops.out_stride[inner], p.x, loops.x_stride[inner], count);
        }
    });
}

}  // namespace

void convert(void* out, int32_t out_dtype, const void* x, int32_t x_dtype, int64_t count) {
    if (out_dtype == x_dtype)
        std::memcpy(out, x, static_cast<size_t>(count * dtype_bytes(x_dtype)));
    else
        choose(out_dtype, x_dtype)(out, 1, x, 1, count);
}

void copy(Exec& exec, const sdn_tensor& out, const sdn_tensor& x) {
    if (exec.measuring()) return;
    const Loops loops = plan(out, x);
    const RowFunction row = choose(out.dtype, x.dtype);
    const Pointers base{static_cast<char*>(out.data), static_cast<const char*>(x.data), dtype_bytes(out.dtype), dtype_bytes(x.dtype)};
    const int across = transposed_loop(loops);
    if (across >= 0)
        copy_tiles(exec, base, loops, across, row);
    else
        copy_rows(exec, base, loops, out.dtype == x.dtype, row);
}

}  // namespace sdn::cpu
