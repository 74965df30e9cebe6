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

// The pixel of x under tap (ky, kx) of a row, or -1 where that is padding.
SDN_DEVICE int32_t tap_pixel(const Source& s, const StoredRowPlace& place, int32_t ky, int32_t kx) {
    int32_t y = place[1] + ky, x = place[2] + kx;
    if (y < 0 || y >= s.view_height || x < 0 || x >= s.view_width) return -1;
    y = static_cast<int32_t>(static_cast<uint64_t>(y) * s.y_scale >> kScaleBits);
    x = static_cast<int32_t>(static_cast<uint64_t>(x) * s.x_scale >> kScaleBits);
    return place[0] + y * s.width + x;
}

// The pixel under segment `segment`, and for the one after the taps that of x2.
SDN_DEVICE int32_t segment_pixel(const Source& s, const StoredRowPlace& place, int32_t segment) {
    if (segment >= s.taps()) return place[3];
    const int32_t ky = segment / s.kernel_width;
    return tap_pixel(s, place, ky, segment - ky * s.kernel_width);
}

// Element (row, k) of A as float.
struct Column {
    int32_t segment, channel;
};
SDN_DEVICE Column column_of(const Source& s, int64_t k) {
    const int64_t from_x = static_cast<int64_t>(s.taps()) * s.channels;
    if (k >= from_x) return {s.taps(), static_cast<int32_t>(k - from_x)};
    const int32_t segment = static_cast<int32_t>(k / s.channels);
    return {segment, static_cast<int32_t>(k - static_cast<int64_t>(segment) * s.channels)};
}

}  // namespace sdn::cuda::SDN_TARGET
