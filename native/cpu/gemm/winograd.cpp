// Computes:  epilogue(w * x) for 3x3 kernels of stride 1: each 4x4 tile is A^T (sum over c of (G w G^T) . (B^T x B)) A, where x is the
//            6x6 window of the tile and . multiplies point by point (Lavin and Gray, arXiv 1509.09308, F(4x4,3x3) of 0, 1, -1, 2, -2).
// Shapes:    x [B,H,W,C], w [O,C,3,3], out [B,H,W,O]; per point: weights [panel, C, kPanelColumns], windows [tiles, C], sums [tiles, O].
// Algorithm: 36 matrix products, one per point. Some panels of weights are transformed into scratch; then, for as many tiles as fit a
//            last-level cache: windows are transformed into rows that the microkernel reads as they lie, multiplied, and the sums
//            transformed back.
// Launch:    three parallel loops: over tiles, over points and pieces of the tiles, over tiles. A tile's values do not depend on others.
#include "cpu/gemm/winograd.inl.h"

#include "cpu/gemm/microkernel.inl.h"
#include "cpu/gemm/pack.inl.h"

namespace sdn::cpu::SDN_ISA {

namespace {

constexpr int64_t kSide = 4, kWindow = 6, kPoints = kWindow * kWindow;
constexpr int64_t kLeastTiles = 64;                      // below, transforming the weights costs more than a tenth
constexpr int64_t kMostWeightBytes = int64_t{64} << 20;  // of transformed weights at a time
constexpr int64_t kMostTileBytes = int64_t{32} << 20;    // of windows and sums at a time
constexpr int64_t kChannelsAtOnce = 32;                  // of a panel that one index transforms
constexpr int64_t kGroup = 2 * kMicroRows;               // tiles that one index transforms
constexpr int64_t kMostUnits = 126 / kMicroRows;  // of kMicroRows tiles that one index multiplies: their windows stay in the level-2 cache

// G g: 6 values of 3.
SDN_INLINE void transform_weight(const vec* g, vec* u, int64_t stride) {
    const vec outer = (g[0] + g[2]) * broadcast(-1.0f / 6), middle = g[1] * broadcast(1.0f / 6);
    const vec far = fma(g[0], broadcast(1.0f / 24), g[2] * broadcast(1.0f / 6)), half = g[1] * broadcast(1.0f / 12);
    u[0 * stride] = g[0] * broadcast(0.25f);
    u[1 * stride] = outer - middle;
    u[2 * stride] = outer + middle;
    u[3 * stride] = far + half;
    u[4 * stride] = far - half;
    u[5 * stride] = g[2];
}

// B^T d: 6 values of 6, in place.
SDN_INLINE void transform_window(vec* d, int64_t stride) {
    const vec d0 = d[0 * stride], d1 = d[1 * stride], d2 = d[2 * stride], d3 = d[3 * stride], d4 = d[4 * stride], d5 = d[5 * stride];
    const vec four = broadcast(4.0f), five = broadcast(5.0f), two = broadcast(2.0f);
    const vec even = d4 - four * d2, odd = d3 - four * d1, inner = d4 - d2, outer = two * (d3 - d1);
    d[0 * stride] = fma(four, d0, d4) - five * d2;
    d[1 * stride] = even + odd;
    d[2 * stride] = even - odd;
    d[3 * stride] = inner + outer;
    d[4 * stride] = inner - outer;
    d[5 * stride] = fma(four, d1, d5) - five * d3;
}

// A^T m: 4 values of 6.
SDN_INLINE void transform_sums(const vec* m, int64_t stride, vec* y, int64_t y_stride) {
    const vec a = m[1 * stride] + m[2 * stride], b = m[1 * stride] - m[2 * stride];
    const vec c = m[3 * stride] + m[4 * stride], d = m[3 * stride] - m[4 * stride];
    y[0 * y_stride] = m[0] + a + c;
    y[1 * y_stride] = fma(broadcast(2.0f), d, b);
    y[2 * y_stride] = fma(broadcast(4.0f), c, a);
    y[3 * y_stride] = fma(broadcast(8.0f), d, b) + m[5 * stride];
}

// kLanes columns of row k of a panel, widened.
SDN_INLINE vec weight_row(const PackedMatrix& m, int64_t panel, int64_t column, int64_t k) {
#if defined(SDN_MULTIPLIES_PAIRS)
    if (m.pairs) {
        const uint16_t* const pair = static_cast<const uint16_t*>(m.data) + packed_index(m, panel, column, k - k % 2);
        return k % 2 == 0 ? load_firsts(pair) : load_seconds(pair);
    }
#endif
    const int64_t at = packed_index(m, panel, column, k);
    if (m.storage == SDN_FLOAT32) return load(static_cast<const float*>(m.data) + at);
    const uint16_t* const narrow = static_cast<const uint16_t*>(m.data) + at;
    return m.storage == SDN_FLOAT16 ? load_float16(narrow) : load_bfloat16(narrow);
}

struct Winograd {
    const ConvolutionLoader& image;
    const PackedMatrix& weight;
    const Epilogue& epilogue;
    int64_t tiles_x, tiles_y, tiles;
    DepthBlocks depth;
    int64_t first_panel = 0, panel_count = 0;  // whose weights are transformed
    int64_t first_tile = 0, tile_count = 0;    // that are at work
    int64_t most_tiles = 0;                    // at a time
    int64_t sum_stride = 0;                    // floats between the sums of two tiles
    float *transformed = nullptr, *windows = nullptr, *sums = nullptr;

    Winograd(const ConvolutionLoader& image_, int64_t batch, const PackedMatrix& weight_, const Epilogue& epilogue_)
        : image(image_),
          weight(weight_),
          epilogue(epilogue_),
          tiles_x(ceil_div(image_.out_width, kSide)),
          tiles_y(ceil_div(image_.out_height, kSide)),
          tiles(batch * tiles_y * tiles_x),
          depth(depth_blocks(image_.channels)) {}

    int64_t panel_floats() const { return kPoints * image.channels * kPanelColumns; }
    int64_t window_floats() const { return kPoints * depth.count * kRowStride; }  // of a tile
    int64_t sum_floats() const { return kPoints * sum_stride; }                   // of a tile

    // Row c of a point's matrix: kPanelColumns floats.
    float* weights_of(int64_t panel, int64_t point, int64_t c) const {
        return transformed + ((panel - first_panel) * kPoints + point) * image.channels * kPanelColumns + c * kPanelColumns;
    }
    // Channel c of a point, of tile t of those at work.
    float* window_of(int64_t point, int64_t t, int64_t c) const {
        return windows + ((c / depth.depth * kPoints + point) * most_tiles + t) * kRowStride + c % depth.depth;
    }
    float* sums_of(int64_t point, int64_t t, int64_t panel) const {
        return sums + (point * most_tiles + t) * sum_stride + (panel - first_panel) * kPanelColumns;
    }

    // Index: a panel of the round and some of its channels.
    static void transform_weights(void* context, int64_t index, int) {
        const Winograd& w = *static_cast<const Winograd*>(context);
        const int64_t pieces = ceil_div(w.image.channels, kChannelsAtOnce);
        const int64_t panel = w.first_panel + index / pieces, first = index % pieces * kChannelsAtOnce;
        for (int64_t c = first; c < min_of(first + kChannelsAtOnce, w.image.channels); ++c)
            for (int64_t column = 0; column < kPanelColumns; column += kLanes) w.transform_channel(panel, c, column);
    }

    void transform_channel(int64_t panel, int64_t c, int64_t column) const {
        vec half[kWindow * 3], row[3], whole[kWindow];
        for (int64_t ky = 0; ky < 3; ++ky) {
            for (int64_t kx = 0; kx < 3; ++kx) row[kx] = weight_row(weight, panel, column, (ky * 3 + kx) * image.channels + c);
            transform_weight(row, half + ky, 3);  // [6 columns, 3 rows]
        }
        for (int64_t j = 0; j < kWindow; ++j) {
            transform_weight(half + j * 3, whole, 1);
            for (int64_t i = 0; i < kWindow; ++i) store(weights_of(panel, i * kWindow + j, c) + column, whole[i]);
        }
    }

    // Index: a group of tiles.
    static void transform_windows(void* context, int64_t index, int) {
        const Winograd& w = *static_cast<const Winograd*>(context);
        for (int64_t t = index * kGroup; t < min_of((index + 1) * kGroup, w.tile_count); ++t) w.load_window(t);
    }

    void load_window(int64_t t) const {
        const int64_t tile = first_tile + t;
        const int64_t y = tile / tiles_x % tiles_y * kSide - image.pad_top, column = tile % tiles_x * kSide - image.pad_left;
        const float* sources[kPoints];
        for (int64_t i = 0; i < kPoints; ++i) sources[i] = image.pixel(tile / tiles_x / tiles_y, y + i / kWindow, column + i % kWindow);
        for (int64_t c = 0; c < image.channels; c += kLanes) {
            vec d[kPoints];
            for (int64_t i = 0; i < kPoints; ++i) d[i] = sources[i] != nullptr ? load(sources[i] + c) : zero();
            for (int64_t i = 0; i < kWindow; ++i) transform_window(d + i * kWindow, 1);
            for (int64_t j = 0; j < kWindow; ++j) transform_window(d + j, kWindow);
            for (int64_t i = 0; i < kPoints; ++i) store(window_of(i, t, c), d[i]);
        }
    }

    // How the tiles at work are cut for the products: in pieces of whole microkernel rows.
    int64_t units() const { return ceil_div(tile_count, kMicroRows); }
    int64_t pieces() const { return ceil_div(units(), kMostUnits); }

    // Index: a point and a piece of the tiles; points vary slowest, so that threads at work at the same time share the weights.
    static void multiply_point(void* context, int64_t index, int) {
        const Winograd& w = *static_cast<const Winograd*>(context);
        const int64_t pieces = w.pieces(), piece = index % pieces;
        const int64_t first = w.units() * piece / pieces * kMicroRows;
        w.multiply(index / pieces, first, min_of(w.tile_count, w.units() * (piece + 1) / pieces * kMicroRows));
    }

    void multiply(int64_t point, int64_t first, int64_t end) const {
        for (int64_t c = 0; c < image.channels; c += depth.depth) {
            const int64_t n = min_of(depth.depth, image.channels - c);
            for (int64_t panel = first_panel; panel < first_panel + panel_count; ++panel) {
                const int64_t width = weight.rows - panel * kPanelColumns;
                const float* const w = weights_of(panel, point, c);
                const bool last = panel + 1 == first_panel + panel_count;
                Upcoming upcoming = Upcoming::spread(last ? w : weights_of(panel + 1, point, c), n * kPanelColumns * 4,
                                                     ceil_div(end - first, kMicroRows) * n);
                for (int64_t t = first; t < end; t += kMicroRows) {
                    multiply_tile(min_of(kMicroRows, end - t), width, window_of(point, t, c), w, n, sums_of(point, t, panel), sum_stride,
                                  c > 0, upcoming);
                    upcoming.skip(n);
                }
            }
        }
    }

    // Index: a group of tiles.
    static void transform_back(void* context, int64_t index, int) {
        const Winograd& w = *static_cast<const Winograd*>(context);
        for (int64_t t = index * kGroup; t < min_of((index + 1) * kGroup, w.tile_count); ++t)
            for (int64_t panel = w.first_panel; panel < w.first_panel + w.panel_count; ++panel) w.store_tile(t, panel);
    }

    void store_tile(int64_t t, int64_t panel) const {
        float pixels[kSide * kSide * kPanelColumns];
        for (int64_t j = 0; j < kPanelColumns; j += kLanes) {
            vec m[kPoints], half[kSide * kWindow], y[kSide * kSide];
            for (int64_t i = 0; i < kPoints; ++i) m[i] = load(sums_of(i, t, panel) + j);
            for (int64_t i = 0; i < kWindow; ++i) transform_sums(m + i, kWindow, half + i, kWindow);  // columns: [4, 6]
            for (int64_t i = 0; i < kSide; ++i) transform_sums(half + i * kWindow, 1, y + i * kSide, 1);
            for (int64_t i = 0; i < kSide * kSide; ++i) store(pixels + i * kPanelColumns + j, y[i]);
        }
        const int64_t tile = first_tile + t;
        const int64_t column = tile % tiles_x * kSide, top = tile / tiles_x % tiles_y * kSide;
        const int64_t columns = min_of(kSide, image.out_width - column);
        for (int64_t i = 0; i < min_of(kSide, image.out_height - top); ++i) {
            const int64_t row = (tile / tiles_x / tiles_y * image.out_height + top + i) * image.out_width + column;
            epilogue.apply(pixels + i * kSide * kPanelColumns, kPanelColumns, row, columns, panel);
        }
    }
};

}  // namespace

bool winograd_pays(const ConvolutionLoader& image, int64_t batch, const PackedMatrix& weight) {
    const bool fits = weight.fast && weight.storage != SDN_INT8 && weight.kernel_height == 3 && weight.kernel_width == 3 &&
                      image.stride == 1 && image.out_height == image.view_height && image.out_width == image.view_width &&
                      image.pad_top == 1 && image.pad_left == 1;
    const int64_t tiles = batch * ceil_div(image.out_height, kSide) * ceil_div(image.out_width, kSide);
    return fits && image.channels % 16 == 0 && weight.rows >= kPanelColumns && tiles >= kLeastTiles;
}

void conv2d_winograd(Exec& exec, const ConvolutionLoader& image, int64_t batch, const PackedMatrix& weight, const Epilogue& epilogue) {
    Winograd w(image, batch, weight, epilogue);
    const int64_t panels_at_once = max_of(1, min_of(weight.panel_count, kMostWeightBytes / (w.panel_floats() * 4)));
    w.sum_stride = panels_at_once * kPanelColumns + 16;  // an odd number of cache lines
    const int64_t units = ceil_div(w.tiles, kMicroRows);
    const int64_t most_units = max_of(1, kMostTileBytes / ((w.window_floats() + w.sum_floats()) * 4 * kMicroRows));
    const int64_t rounds = ceil_div(units, most_units);
    w.most_tiles = ceil_div(units, rounds) * kMicroRows;

    const int64_t weight_floats = panels_at_once * w.panel_floats(), window_floats = w.most_tiles * w.window_floats();
    w.transformed = static_cast<float*>(exec_scratch(exec, (weight_floats + window_floats + w.most_tiles * w.sum_floats()) * 4));
    w.windows = w.transformed + weight_floats;
    w.sums = w.windows + window_floats;
    for (; w.first_panel < weight.panel_count && !exec_measuring(exec); w.first_panel += panels_at_once) {
        w.panel_count = min_of(panels_at_once, weight.panel_count - w.first_panel);
        exec_parallel_for(exec, w.panel_count * ceil_div(image.channels, kChannelsAtOnce), Winograd::transform_weights, &w);
        for (w.first_tile = 0; w.first_tile < w.tiles; w.first_tile += w.most_tiles) {
            w.tile_count = min_of(w.most_tiles, w.tiles - w.first_tile);
            const int64_t groups = ceil_div(w.tile_count, kGroup);
            exec_parallel_for(exec, groups, Winograd::transform_windows, &w);
            exec_parallel_for(exec, kPoints * w.pieces(), Winograd::multiply_point, &w);
            exec_parallel_for(exec, groups, Winograd::transform_back, &w);
        }
    }
    exec_release(exec, w.transformed);
}

}  // namespace sdn::cpu::SDN_ISA
