// Computes:  out[i] = (dtype of out) x[i], as cpu/copy.cpp.
// Shapes:    equal, any strides; a stride of 0 in x repeats.
// Algorithm: dimensions that continue each other are joined. Then units are moved one per thread: 16 bytes where nothing is converted and
//            both sides allow it, 8 elements where floats are, else one element. A transposition of any size worth it goes through tiles
//            in shared memory, so that both sides use whole sectors.
// Launch:    units: blocks of 256 threads, at most 32 per multiprocessor, which stride; tiles: one block of 256 per 32 x 32 elements.
#include "core/dtype.h"
#include "cuda/convert.cuh"
#include "cuda/launchers.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int kThreads = 256;
constexpr int kTile = 32;
constexpr int kTileRows = kThreads / kTile;  // written at a time
constexpr int64_t kSmallestTiledSide = 8;
constexpr int kPack = 8;  // floats converted at a time

// The copy as loops, from the outermost to the innermost: sorted by out's strides, joined, without those of length 1.
struct Loops {
    int rank = 0;
    int64_t shape[4], out_stride[4], x_stride[4];
};

enum class Unit { kElement, kPack, kVector };

struct Copy {
    void* out;
    const void* x;
    int32_t out_dtype, x_dtype;
    int out_bytes, x_bytes;  // of an element
    Unit unit;
    Loops loops;  // of units
};

Loops plan(const sdn_tensor& out, const sdn_tensor& x) {
    Loops loops{};
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
    if (loops.rank == 0) return {1, {1}, {1}, {1}};
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
    loops.rank = joined + 1;
    return loops;
}

// Whether every unit of `elements` neighbours begins on a multiple of `bytes` on one side.
bool aligned(const void* data, int64_t element_bytes, const Loops& loops, const int64_t* stride, int64_t elements, int64_t bytes) {
    const int inner = loops.rank - 1;
    if (stride[inner] != 1 || loops.shape[inner] % elements != 0 || reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(bytes) != 0)
        return false;
    for (int i = 0; i < inner; ++i)
        if (stride[i] % elements != 0 || stride[i] * element_bytes % bytes != 0) return false;
    return true;
}

// Makes units of `elements` neighbours of the innermost loop.
void group(Copy& copy, Unit unit, int64_t elements) {
    Loops& loops = copy.loops;
    const int inner = loops.rank - 1;
    copy.unit = unit;
    loops.shape[inner] /= elements;
    for (int i = 0; i < inner; ++i) loops.out_stride[i] /= elements, loops.x_stride[i] /= elements;
}

template <class T>
SDN_DEVICE void load_pack(const void* data, int64_t i, float (&values)[kPack]) {
    constexpr int kVector = 16 / sizeof(T);
    SDN_UNROLL
    for (int v = 0; v < kPack; v += kVector) {
        const Vec<T, kVector> vector = load_vec<kVector>(static_cast<const T*>(data) + i * kPack + v);
        SDN_UNROLL
        for (int k = 0; k < kVector; ++k) values[v + k] = to_float(vector[k]);
    }
}
template <class T>
SDN_DEVICE void store_pack(void* data, int64_t i, const float (&values)[kPack]) {
    constexpr int kVector = 16 / sizeof(T);
    SDN_UNROLL
    for (int v = 0; v < kPack; v += kVector) {
        Vec<T, kVector> vector;
        SDN_UNROLL
        for (int k = 0; k < kVector; ++k) vector[k] = from_float<T>(values[v + k]);
        store_vec(static_cast<T*>(data) + i * kPack + v, vector);
    }
}

SDN_DEVICE void move_pack(const Copy& copy, int64_t out_at, int64_t x_at) {
    float values[kPack];
    if (copy.x_dtype == SDN_FLOAT32)
        load_pack<float>(copy.x, x_at, values);
    else if (copy.x_dtype == SDN_FLOAT16)
        load_pack<half>(copy.x, x_at, values);
    else
        load_pack<bfloat16>(copy.x, x_at, values);
    if (copy.out_dtype == SDN_FLOAT32)
        store_pack<float>(copy.out, out_at, values);
    else if (copy.out_dtype == SDN_FLOAT16)
        store_pack<half>(copy.out, out_at, values);
    else
        store_pack<bfloat16>(copy.out, out_at, values);
}

SDN_DEVICE uint64_t converted_element(const Copy& copy, int64_t x_at) {
    return convert_bits(copy.out_dtype, copy.x_dtype, load_bits(copy.x, copy.x_bytes, x_at));
}

// Index: uint32_t where the units can be counted in it (its divisions are several times faster), else uint64_t.
template <class Index>
SDN_KERNEL void copy_units(Copy copy, int64_t count) {
    const Loops& loops = copy.loops;
    for (int64_t unit = block_x() * kThreads + thread_index(); unit < count; unit += grid_x() * kThreads) {
        Index rest = static_cast<Index>(unit);
        int64_t out_at = 0, x_at = 0;
        SDN_UNROLL
        for (int i = 3; i > 0; --i) {
            if (i >= loops.rank) continue;
            const Index length = static_cast<Index>(loops.shape[i]), next = rest / length;
            const int64_t at = static_cast<int64_t>(rest - next * length);
            out_at += at * loops.out_stride[i];
            x_at += at * loops.x_stride[i];
            rest = next;
        }
        out_at += static_cast<int64_t>(rest) * loops.out_stride[0];
        x_at += static_cast<int64_t>(rest) * loops.x_stride[0];
        if (copy.unit == Unit::kVector)
            store_vec(static_cast<uint32_t*>(copy.out) + 4 * out_at, load_vec<4>(static_cast<const uint32_t*>(copy.x) + 4 * x_at));
        else if (copy.unit == Unit::kPack)
            move_pack(copy, out_at, x_at);
        else
            store_bits(copy.out, copy.out_bytes, out_at, converted_element(copy, x_at));
    }
}

// Loops 0 and 1 are any; loop 2 is the one along which x is contiguous, loop 3 the one along which out is.
// Cell: an unsigned integer that holds an element of out.
template <class Cell>
SDN_KERNEL void copy_tiles(Copy copy) {
    const Loops& loops = copy.loops;
    Shared<Cell> tile = shared_array<Cell>(0, kTile * (kTile + 1));
    const int64_t across_tiles = ceil_div<int64_t>(loops.shape[2], kTile);
    const int64_t outer = block_x() / across_tiles;
    const int64_t i0 = block_y() * kTile, j0 = block_x() % across_tiles * kTile;
    const int64_t a = outer / loops.shape[1], b = outer % loops.shape[1];
    const int64_t out_base = a * loops.out_stride[0] + b * loops.out_stride[1], x_base = a * loops.x_stride[0] + b * loops.x_stride[1];
    const int lane = thread_index() % kTile, first_row = thread_index() / kTile;
    for (int row = first_row; row < kTile; row += kTileRows) {
        const int64_t i = i0 + row, j = j0 + lane;
        if (i < loops.shape[3] && j < loops.shape[2])
            tile[row * (kTile + 1) + lane] = static_cast<Cell>(converted_element(copy, x_base + i * loops.x_stride[3] + j));
    }
    sync_block();
    for (int row = first_row; row < kTile; row += kTileRows) {
        const int64_t i = i0 + lane, j = j0 + row;
        if (i < loops.shape[3] && j < loops.shape[2])
            store_bits(copy.out, copy.out_bytes, out_base + i + j * loops.out_stride[2], tile[lane * (kTile + 1) + row]);
    }
}

// Brings the loop along which x is contiguous to place 2, the innermost to 3. False where tiles would not help or not fit the grid.
bool arrange_tiles(Loops& loops) {
    const int inner = loops.rank - 1;
    if (loops.out_stride[inner] != 1 || loops.x_stride[inner] <= 1 || loops.shape[inner] < kSmallestTiledSide ||
        ceil_div<int64_t>(loops.shape[inner], kTile) > 65535)
        return false;
    int across = -1;
    for (int i = 0; i < inner; ++i)
        if (loops.x_stride[i] == 1 && loops.shape[i] >= kSmallestTiledSide) across = i;
    if (across < 0) return false;
    Loops arranged{4, {1, 1, 1, 1}, {0, 0, 0, 0}, {0, 0, 0, 0}};
    int others = 0;
    for (int i = 0; i < loops.rank; ++i) {
        const int to = i == inner ? 3 : i == across ? 2 : others++;
        arranged.shape[to] = loops.shape[i];
        arranged.out_stride[to] = loops.out_stride[i];
        arranged.x_stride[to] = loops.x_stride[i];
    }
    loops = arranged;
    return true;
}

}  // namespace

void copy(Exec& exec, const sdn_tensor& out, const sdn_tensor& x) {
    if (exec_measuring(exec)) return;
    Queue& queue = exec_queue(exec);
    const int out_bytes = static_cast<int>(dtype_bytes(out.dtype)), x_bytes = static_cast<int>(dtype_bytes(x.dtype));
    Copy copy{out.data, x.data, out.dtype, x.dtype, out_bytes, x_bytes, Unit::kElement, plan(out, x)};

    Loops tiled = copy.loops;
    if (arrange_tiles(tiled)) {
        copy.loops = tiled;
        const Grid grid{tiled.shape[0] * tiled.shape[1] * ceil_div<int64_t>(tiled.shape[2], kTile),
                        ceil_div<int64_t>(tiled.shape[3], kTile)};
        const int cells = kTile * (kTile + 1);
        if (out_bytes == 8)
            launch(queue, "copy_tiles", copy_tiles<uint64_t>, grid, kThreads, cells * 8, copy);
        else
            launch(queue, "copy_tiles", copy_tiles<uint32_t>, grid, kThreads, cells * 4, copy);
        return;
    }

    const Loops& loops = copy.loops;
    const int64_t per_vector = 16 / out_bytes;
    if (out.dtype == x.dtype) {
        if (aligned(out.data, out_bytes, loops, loops.out_stride, per_vector, 16) &&
            aligned(x.data, x_bytes, loops, loops.x_stride, per_vector, 16))
            group(copy, Unit::kVector, per_vector);
    } else if (is_activation_dtype(out.dtype) && is_activation_dtype(x.dtype)) {
        if (aligned(out.data, out_bytes, loops, loops.out_stride, kPack, 16) && aligned(x.data, x_bytes, loops, loops.x_stride, kPack, 16))
            group(copy, Unit::kPack, kPack);
    }
    int64_t count = 1;
    for (int i = 0; i < loops.rank; ++i) count *= loops.shape[i];
    const Grid grid{min_of(ceil_div<int64_t>(count, kThreads), int64_t{32} * queue.limits.multiprocessors)};
    const char* name = copy.unit == Unit::kVector ? "copy_vectors" : copy.unit == Unit::kPack ? "copy_packs" : "copy_elements";
    if (count <= 0xffffffff)
        launch(queue, name, copy_units<uint32_t>, grid, kThreads, 0, copy, count);
    else
        launch(queue, name, copy_units<uint64_t>, grid, kThreads, 0, copy, count);
}

}  // namespace sdn::cuda::SDN_TARGET
