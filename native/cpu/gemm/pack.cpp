#include "cpu/gemm/pack.inl.h"

#include <cstring>

#include "core/dtype.h"
#include "cpu/ops.inl.h"

namespace sdn::cpu::SDN_ISA {

const int32_t panel_width = kPanelColumns;
#if defined(SDN_MULTIPLIES_BYTES)
const bool multiplies_bytes = true;
#else
const bool multiplies_bytes = false;
#endif
#if defined(SDN_MULTIPLIES_HALVES)
const bool multiplies_halves = true;
#else
const bool multiplies_halves = false;
#endif

namespace {

// Where source element `s` of a row lies in the packed K: logical (c, ky, kx), packed (ky, kx, c).
int64_t packed_k(const PackedMatrix& m, int64_t s) {
    const int64_t taps = static_cast<int64_t>(m.kernel_height) * m.kernel_width;
    return s % taps * (m.columns / taps) + s / taps;
}

// ---- one element at a time: rows that do not fill a vector, the end of K, float64

double read_double(const void* source, int64_t i, int32_t dtype) {
    switch (dtype) {
        case SDN_FLOAT64:
            return static_cast<const double*>(source)[i];
        case SDN_FLOAT16:
            return static_cast<double>(float_from_half(static_cast<const uint16_t*>(source)[i]));
        case SDN_BFLOAT16:
            return static_cast<double>(float_from_bfloat16(static_cast<const uint16_t*>(source)[i]));
        default:
            return static_cast<double>(static_cast<const float*>(source)[i]);
    }
}

struct Source {
    const char* data;
    int32_t dtype;
    int64_t first_row;  // of the logical weight
};

void pack_elements(const PackedMatrix& m, const Source& source, int64_t row, int64_t first, int64_t end) {
    const Place place = place_of(m, source.first_row + row);
    for (int64_t s = first; s < end; ++s) {
        const int64_t to = packed_index(m, place.panel, place.column, packed_k(m, s)), from = row * m.columns + s;
        const int64_t bytes = bytes_of(m.storage);
        if (source.dtype == m.storage) {
            std::memcpy(static_cast<char*>(m.data) + to * bytes, source.data + from * bytes, static_cast<size_t>(bytes));
            continue;
        }
        const double x = read_double(source.data, from, source.dtype);
        if (m.storage == SDN_FLOAT32)
            static_cast<float*>(m.data)[to] = static_cast<float>(x);
        else
            static_cast<uint16_t*>(m.data)[to] = m.storage == SDN_FLOAT16 ? half_from_double(x) : bfloat16_from_double(x);
    }
}

// ---- kLanes rows at a time: kLanes elements of each are converted and transposed in registers

template <int32_t From, int32_t To>
SDN_INLINE vec load_as(const char* p) {
    if constexpr (From == To) {
        if constexpr (To == SDN_FLOAT32)
            return load(reinterpret_cast<const float*>(p));
        else
            return load_halves(p);
    } else {
        vec x;
        if constexpr (From == SDN_FLOAT32)
            x = load(reinterpret_cast<const float*>(p));
        else if constexpr (From == SDN_FLOAT16)
            x = load_float16(p);
        else
            x = load_bfloat16(p);
        if constexpr (To == SDN_FLOAT32)
            return x;
        else if constexpr (To == SDN_FLOAT16)
            return float16_bits(x);
        else
            return bfloat16_bits(x);
    }
}

// Source elements [first, end) of kLanes rows from `row` on; kLanes divides end - first. K may be met in any order, but with `pairs` an
// even k must come before the odd one beside it, as it does where `first` only grows.
template <int32_t From, int32_t To>
SDN_NOINLINE void pack_vectors(const PackedMatrix& m, const Source& source, int64_t row, int64_t first, int64_t end) {
    constexpr int64_t kFromBytes = From == SDN_FLOAT32 ? 4 : 2;
    const int64_t taps = static_cast<int64_t>(m.kernel_height) * m.kernel_width, channels = m.columns / taps;
    const Place place = place_of(m, source.first_row + row);
    int64_t c = first / taps, tap = first % taps;
    for (int64_t s = first; s < end; s += kLanes) {
        const char* from = source.data + (row * m.columns + s) * kFromBytes;
        vec rows[kLanes];
        SDN_UNROLL for (int i = 0; i < kLanes; ++i) rows[i] = load_as<From, To>(from + i * m.columns * kFromBytes);
        transpose(rows);
        SDN_UNROLL for (int i = 0; i < kLanes; ++i) {
            const int64_t k = tap * channels + c;
            if (++tap == taps) tap = 0, ++c;
            if constexpr (To == SDN_FLOAT32) {
                store(static_cast<float*>(m.data) + packed_index(m, place.panel, place.column, k), rows[i]);
            } else {
                uint16_t* const to = static_cast<uint16_t*>(m.data) + packed_index(m, place.panel, place.column, k - (m.pairs ? k % 2 : 0));
                if (!m.pairs) {
                    store_halves(to, rows[i]);
                } else {
                    float* const pairs = reinterpret_cast<float*>(to);
                    store(pairs, k % 2 == 0 ? rows[i] : join_halves(load(pairs), rows[i]));
                }
            }
        }
    }
}

using PackVectors = void (*)(const PackedMatrix& m, const Source& source, int64_t row, int64_t first, int64_t end);

template <int32_t From>
PackVectors pack_vectors_into(int32_t storage) {
    if (storage == SDN_FLOAT32) return pack_vectors<From, SDN_FLOAT32>;
    return storage == SDN_FLOAT16 ? pack_vectors<From, SDN_FLOAT16> : pack_vectors<From, SDN_BFLOAT16>;
}

PackVectors choose_pack_vectors(int32_t dtype, int32_t storage) {
    switch (dtype) {
        case SDN_FLOAT32:
            return pack_vectors_into<SDN_FLOAT32>(storage);
        case SDN_FLOAT16:
            return pack_vectors_into<SDN_FLOAT16>(storage);
        case SDN_BFLOAT16:
            return pack_vectors_into<SDN_BFLOAT16>(storage);
        default:
            return nullptr;
    }
}

template <class Bits>
void unpack_bits(const PackedMatrix& m, void* values) {
    const Bits* const from = static_cast<const Bits*>(m.data);
    for (int64_t row = 0; row < m.rows; ++row) {
        Bits* const to = static_cast<Bits*>(values) + row * m.columns;
        const Place place = place_of(m, row);
        for (int64_t s = 0; s < m.columns; ++s) to[s] = from[packed_index(m, place.panel, place.column, packed_k(m, s))];
    }
}

// The columns past the outputs.
void clear_padding(const PackedMatrix& m) {
    const int64_t vectors = m.geglu ? 2 : 1;  // that an output takes part in
    const int64_t outputs = m.rows / vectors, width = kPanelColumns / vectors;
    for (int64_t j = outputs; j < m.panel_count * width; ++j) {
        for (int64_t i = 0; i < vectors * m.columns; ++i) {
            const int64_t at = packed_index(m, j / width, i % vectors * width + j % width, i / vectors);
            std::memset(static_cast<char*>(m.data) + at * bytes_of(m.storage), 0, static_cast<size_t>(bytes_of(m.storage)));
        }
    }
}

}  // namespace

void pack_rows(const PackedMatrix& m, const void* source, int32_t source_dtype, int64_t first_row, int64_t row_count) {
    if (m.storage == SDN_INT8) return pack_bytes(m, source, source_dtype, first_row, row_count);
    constexpr int64_t kPiece = 64;  // elements of a row at a time: whole cache lines of the source, while the panel's stay warm
    static_assert(kPiece % kLanes == 0);
    const Source from = {static_cast<const char*>(source), source_dtype, first_row};
    const PackVectors vectors = choose_pack_vectors(source_dtype, m.storage);
    const int64_t run = m.geglu ? kLanes : kPanelColumns;  // rows that lie side by side in a panel
    const int64_t whole = vectors != nullptr ? m.columns / kLanes * kLanes : 0;
    for (int64_t row = 0, next; row < row_count; row = next) {
        const int64_t in_half = m.geglu ? (first_row + row) % (m.rows / 2) : first_row + row;
        next = min_of(row_count, row + run - in_half % run);
        if (m.geglu) next = min_of(next, row + m.rows / 2 - in_half);
        for (int64_t k = 0; k < m.columns; k += kPiece) {
            for (int64_t r = row, last; r < next; r = last) {
                last = min_of(next, r + kLanes - (in_half + r - row) % kLanes);
                const int64_t end = min_of(m.columns, k + kPiece), full = last - r == kLanes ? max_of(k, min_of(end, whole)) : k;
                if (full > k) vectors(m, from, r, k, full);
                for (int64_t single = r; single < last && full < end; ++single) pack_elements(m, from, single, full, end);
            }
        }
    }
    if (first_row + row_count == m.rows) clear_padding(m);
}

void unpack(const PackedMatrix& m, void* values) {
    if (m.storage == SDN_INT8)
        unpack_bytes(m, static_cast<float*>(values));
    else if (m.storage == SDN_FLOAT32)
        unpack_bits<uint32_t>(m, values);
    else
        unpack_bits<uint16_t>(m, values);
}

}  // namespace sdn::cpu::SDN_ISA
