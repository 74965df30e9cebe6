// One product out = epilogue(A w^T), as linear.cu and conv2d.cu describe it and the mainloops of cuda/gemm compute it.
//
// A is never stored. Its row m is an output pixel (b, y, x) of an image, its columns are segments: first the taps of a kernel, each with
// the channels of one pixel of x in the order (ky, kx, c); then, with x2, the channels of pixel (b, y, x) of x2. A plain matrix is an
// image of 1 x 1 pixels per row under a kernel of one tap.
#pragma once

#include "cuda/kernel_api.h"
#include "cuda/primitives/dtype.h"

namespace sdn::cuda::SDN_TARGET {

// Places on a view to places on the image it shows: floor(y * image / view) = y * image_scale(image, view) >> kScaleBits, exact for sides
// up to 2^20.
constexpr int kScaleBits = 41;
inline uint64_t image_scale(int64_t image, int64_t view) {
    return ((static_cast<uint64_t>(image) << kScaleBits) + static_cast<uint64_t>(view) - 1) / static_cast<uint64_t>(view);
}

// Where A comes from. The view is x resized by nearest neighbour.
struct Source {
    const void* x = nullptr;   // [images, height, width, channels]
    const void* x2 = nullptr;  // [images, out_height, out_width, channels2] or nullptr
    int32_t channels = 0, channels2 = 0;
    int32_t height = 1, width = 1;
    int32_t view_height = 1, view_width = 1;
    int32_t out_height = 1, out_width = 1;  // the rows of one image; with phases, of one phase
    int32_t kernel_height = 1, kernel_width = 1;
    int32_t stride = 1, pad_top = 0, pad_left = 0;
    int32_t dtype = SDN_FLOAT32;
    uint64_t y_scale = uint64_t{1} << kScaleBits, x_scale = uint64_t{1} << kScaleBits;

    SDN_HOST_DEVICE int32_t taps() const { return kernel_height * kernel_width; }
};

// What becomes of a sum: out = activation(sum + bias + channel_add) + residual.
struct Epilogue {
    void* out = nullptr;                // [M, columns] of dtype
    const void* residual = nullptr;     // like out, or nullptr
    const void* channel_add = nullptr;  // [M / rows_per_add, columns] of dtype, or nullptr
    const float* bias = nullptr;        // [N], or nullptr
    int64_t columns = 0;                // N, or N / 2 with geglu
    int32_t rows_per_add = 1;
    int32_t activation = SDN_ACTIVATION_NONE;
    int32_t dtype = SDN_FLOAT32;
    // Not 0: there are four phases, and row (b, y, x) of phase (py, px), of images this wide, is pixel (2y + py, 2x + px) of out.
    int32_t phase_width = 0;
    bool vectors = false;  // rows of out, residual and channel_add begin on 16 bytes and are multiples of 16 bytes long

    SDN_HOST_DEVICE bool geglu() const { return activation == SDN_ACTIVATION_GEGLU; }
    SDN_HOST_DEVICE int64_t out_row(int64_t row, int phase) const {
        if (phase_width == 0) return row;
        const int64_t line = row / phase_width;
        return (line * 2 + phase / 2) * 2 * phase_width + (row - line * phase_width) * 2 + phase % 2;
    }
};

struct Product {
    Source source;
    Epilogue epilogue;
    const void* weight = nullptr;  // [N, weight_stride] of weight_dtype; with phases [4, N, weight_stride]
    int64_t weight_stride = 0;
    int32_t weight_dtype = SDN_FLOAT32;
    int32_t phases = 1;  // 1 or 4: phase (py, px) = (p / 2, p % 2) sees the source through pads that are smaller by py and px
    int64_t m = 0;       // rows of A per phase
    int64_t n = 0, k = 0;
};

// Computes it by the mainloop that suits it. Takes scratch from exec and gives it back; launches nothing when exec measures.
void multiply(Exec& exec, const Product& product);

// The mainloops. Each returns false, having done nothing, for a product that it cannot take.
bool multiply_few_rows(Exec& exec, const Product& product);     // M up to 16: weights are read once
bool multiply_few_columns(Exec& exec, const Product& product);  // N up to 4
bool multiply_sm80(Exec& exec, const Product& product);         // tensor cores: all of one 16-bit dtype
void multiply_simt(Exec& exec, const Product& product);         // anything

inline int64_t bytes_of(int32_t dtype) {
    return dtype == SDN_FLOAT64 ? 8 : dtype == SDN_FLOAT32 ? 4 : 2;
}
inline bool on_16_bytes(const void* address) {
    return reinterpret_cast<uintptr_t>(address) % 16 == 0;  // nullptr too
}

}  // namespace sdn::cuda::SDN_TARGET
