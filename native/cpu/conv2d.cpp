// Computes:  out[b,y,x,o] = sum w[o,c,i,j] * x[b, y*stride+i-pad_top, x*stride+j-pad_left, c] + bias[o] + channel_add[b,o] + residual
// Shapes:    x [B,H,W,C] (read as if resized to the upsampled size), w [O,C,kh,kw], out and residual [B,Ho,Wo,O], channel_add [B,O]
// Algorithm: the matrix mainloop of cpu/gemm over B*Ho*Wo rows of K = kh*kw*C; im2col happens block by block, in cache.
// Launch:    one parallel index per tile.
#include "cpu/gemm/loaders.inl.h"
#include "cpu/gemm/mainloop.inl.h"
#include "cpu/ops.inl.h"

namespace sdn::cpu::SDN_ISA {

namespace {

bool reads_pixels_as_they_are(const PackedMatrix& weight, const sdn_conv2d_params& p) {
    return weight.kernel_height == 1 && weight.kernel_width == 1 && p.stride == 1 && p.upsample_height == 0 &&
           (p.pad_top | p.pad_left | p.pad_bottom | p.pad_right) == 0;
}

}  // namespace

void conv2d(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const PackedMatrix& weight, const sdn_tensor* channel_add,
            const sdn_tensor* residual, const sdn_conv2d_params& params) {
    const int64_t out_height = out.shape[1], out_width = out.shape[2];
    const int64_t rows = out.shape[0] * out_height * out_width;
    Epilogue epilogue;
    epilogue.out = static_cast<float*>(out.data);
    epilogue.columns = weight.rows;
    epilogue.bias = weight.bias;
    epilogue.residual = residual ? static_cast<const float*>(residual->data) : nullptr;
    epilogue.channel_add = channel_add ? static_cast<const float*>(channel_add->data) : nullptr;
    epilogue.rows_per_add = out_height * out_width;

    const float* const data = static_cast<const float*>(x.data);
    const int64_t height = x.shape[1], width = x.shape[2], channels = x.shape[3];
    if (reads_pixels_as_they_are(weight, params)) {
        multiply_matrix(exec, RowLoader{data, channels, nullptr, 0}, rows, weight, epilogue);
        return;
    }
    ConvolutionLoader loader;
    loader.x = data;
    loader.height = height, loader.width = width, loader.channels = channels;
    loader.view_height = params.upsample_height > 0 ? params.upsample_height : height;
    loader.view_width = params.upsample_width > 0 ? params.upsample_width : width;
    loader.out_height = out_height, loader.out_width = out_width;
    loader.kernel_width = weight.kernel_width;
    loader.stride = params.stride;
    loader.pad_top = params.pad_top, loader.pad_left = params.pad_left;
    multiply_matrix(exec, loader, rows, weight, epilogue);
}

}  // namespace sdn::cpu::SDN_ISA
