// Loaders: load(row, rows, k, depth, block, stride) copies x[row .. row + rows, k .. k + depth) into a block of `stride` floats per row.
#pragma once

#include "cpu/gemm/layout.inl.h"

namespace sdn::cpu::SDN_ISA {

SDN_INLINE void copy_floats(float* target, const float* source, int64_t n) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(target + i, load(source + i));
    if (i < n) store_partial(target + i, load_partial(source + i, n - i), n - i);
}

SDN_INLINE void clear_floats(float* target, int64_t n) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(target + i, zero());
    if (i < n) store_partial(target + i, zero(), n - i);
}

// Rows of x [M, x_columns], continued by those of x2 [M, x2_columns].
struct RowLoader {
    const float* x;
    int64_t x_columns;
    const float* x2;
    int64_t x2_columns;

    void load(int64_t row, int64_t rows, int64_t k, int64_t depth, float* block, int64_t block_stride) const {
        const int64_t from_x = max_of(0, min_of(depth, x_columns - k));
        for (int64_t r = row; r < row + rows; ++r, block += block_stride) {
            if (from_x > 0) copy_floats(block, x + r * x_columns + k, from_x);
            if (from_x < depth) copy_floats(block + from_x, x2 + r * x2_columns + (k + from_x - x_columns), depth - from_x);
        }
    }
};

// im2col: row (b, y, x) holds the pixels (y * stride + ky - pad_top, x * stride + kx - pad_left) of image b of x [B, H, W, C], in the
// order (ky, kx, c); zero outside. With an upsampled size, the pixels of x resized to it by nearest neighbour.
struct ConvolutionLoader {
    const float* x;
    int64_t height, width, channels;
    int64_t view_height, view_width;  // the upsampled size, or height and width
    int64_t out_height, out_width;
    int64_t kernel_width, stride, pad_top, pad_left;

    void load(int64_t row, int64_t rows, int64_t k, int64_t depth, float* block, int64_t block_stride) const {
        const int64_t first_tap = k / channels;
        int64_t out_x = row % out_width;
        int64_t out_y = row / out_width % out_height;
        int64_t image = row / out_width / out_height;
        for (int64_t r = 0; r < rows; ++r, block += block_stride) {
            int64_t ky = first_tap / kernel_width, kx = first_tap % kernel_width, c = k % channels;
            for (int64_t done = 0; done < depth;) {
                const int64_t n = min_of(depth - done, channels - c);
                copy_pixel(block + done, image, out_y * stride + ky - pad_top, out_x * stride + kx - pad_left, c, n);
                done += n;
                c = 0;
                if (++kx == kernel_width) kx = 0, ++ky;
            }
            if (++out_x == out_width) {
                out_x = 0;
                if (++out_y == out_height) out_y = 0, ++image;
            }
        }
    }

    // The channels of a pixel of the view, or nullptr outside of it.
    SDN_INLINE const float* pixel(int64_t image, int64_t y, int64_t column) const {
        if (y < 0 || y >= view_height || column < 0 || column >= view_width) return nullptr;
        if (view_height != height) y = y * height / view_height;
        if (view_width != width) column = column * width / view_width;
        return x + ((image * height + y) * width + column) * channels;
    }

  private:
    SDN_INLINE void copy_pixel(float* target, int64_t image, int64_t y, int64_t column, int64_t c, int64_t n) const {
        if (const float* const source = pixel(image, y, column))
            copy_floats(target, source + c, n);
        else
            clear_floats(target, n);
    }
};

}  // namespace sdn::cpu::SDN_ISA
