// Where the elements of a product's A lie.
#pragma once

#include "cuda/gemm/product.h"
#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

// The part of a row's place that does not depend on the column: the source's line 0 of its image, and the view's pixel under tap (0, 0).
struct RowPlace {
    int32_t image_pixel, y, x, out_pixel;
};
using StoredRowPlace = Vec<int32_t, 4>;

// Of row `row` of a phase; past the last row a place that is nowhere.
SDN_DEVICE StoredRowPlace row_place(const Source& s, int64_t rows, int64_t row, int phase_y, int phase_x) {
    if (row >= rows) return {{0, INT32_MIN / 2, INT32_MIN / 2, -1}};
    const int32_t pixel = static_cast<int32_t>(row);
    const int32_t line = pixel / s.out_width, image = line / s.out_height;
    return {{image * s.height * s.width, (line - image * s.out_height) * s.stride - s.pad_top + phase_y,
             (pixel - line * s.out_width) * s.stride - s.pad_left + phase_x, pixel}};
}

// The pixel of x under tap (ky, kx) of a row, or -1 where that is padding. Without branches: the mainloop waits for it.
SDN_DEVICE int32_t tap_pixel(const Source& s, const StoredRowPlace& place, int32_t ky, int32_t kx) {
    const uint32_t y = static_cast<uint32_t>(place[1] + ky), x = static_cast<uint32_t>(place[2] + kx);  // negative: large
    const bool inside = (y < static_cast<uint32_t>(s.view_height)) & (x < static_cast<uint32_t>(s.view_width));
    const int32_t line = static_cast<int32_t>(y * s.y_scale >> kScaleBits), column = static_cast<int32_t>(x * s.x_scale >> kScaleBits);
    return inside ? place[0] + static_cast<int32_t>(static_cast<uint32_t>(line) * static_cast<uint32_t>(s.width)) + column : -1;
}

// A column of A: a segment (the taps, then x2) and a channel.
struct Column {
    int32_t segment, channel;
};
SDN_DEVICE Column column_of(const Source& s, int64_t k) {
    const int64_t from_x = static_cast<int64_t>(s.taps()) * s.channels;
    if (k >= from_x) return {s.taps(), static_cast<int32_t>(k - from_x)};
    const uint32_t segment = static_cast<uint32_t>(k) / static_cast<uint32_t>(s.channels);  // a row of weights fits 32 bits
    return {static_cast<int32_t>(segment), static_cast<int32_t>(static_cast<uint32_t>(k) - segment * static_cast<uint32_t>(s.channels))};
}

// The pixel under a segment: of x2 for the one after the taps.
SDN_DEVICE int32_t segment_pixel(const Source& s, const StoredRowPlace& place, int32_t segment) {
    const int32_t ky = static_cast<int32_t>(static_cast<uint32_t>(segment) / static_cast<uint32_t>(s.kernel_width));
    const int32_t pixel = tap_pixel(s, place, ky, segment - ky * s.kernel_width);
    return segment < s.taps() ? pixel : place[3];
}

}  // namespace sdn::cuda::SDN_TARGET
