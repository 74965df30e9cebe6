// Computes:  out[b,y,x,o] = sum w[o,c,i,j] * x[b, y*stride+i-pad_top, x*stride+j-pad_left, c] + bias[o] + channel_add[b,o] + residual
// Shapes:    x [B,H,W,C] (read as if resized to the upsampled size), w [O,C,kh,kw], out and residual [B,Ho,Wo,O], channel_add [B,O]
// Algorithm: implicit GEMM: a product of cuda/gemm, whose loader finds the pixels under the kernel. 3x3 over a doubled image is four 2x2
//            convolutions of the image itself where the weight has the sums for it, which are rounded to 16 bits once more.
// Launch:    see the mainloop that multiply() chooses.
#include "cuda/gemm/product.h"
#include "cuda/launchers.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

bool doubles_the_image(const sdn_tensor& x, const MatrixWeight& weight, const sdn_conv2d_params& p) {
    return weight.kernel_height == 3 && weight.kernel_width == 3 && p.stride == 1 && p.pad_top == 1 && p.pad_left == 1 &&
           p.pad_bottom == 1 && p.pad_right == 1 && p.upsample_height == 2 * x.shape[1] && p.upsample_width == 2 * x.shape[2];
}

void set_view(Source& source, int32_t height, int32_t width) {
    source.view_height = height, source.view_width = width;
    source.y_scale = image_scale(source.height, height), source.x_scale = image_scale(source.width, width);
}

// Tap (i, j) of phase (py, px) at pixel (y, x) lies on pixel (y + i - 1 + py, x + j - 1 + px) of the image.
void use_phases(Product& p, const MatrixWeight& weight) {
    p.phases = 4;
    p.m /= 4;
    p.k = p.k / 9 * 4;
    p.weight = weight.phases;
    p.weight_stride = weight.phase_row_stride;
    p.source.kernel_height = p.source.kernel_width = 2;
    set_view(p.source, p.source.height, p.source.width);
    p.source.out_height = p.source.height;
    p.source.out_width = p.source.width;
    p.epilogue.rows_per_add /= 4;
    p.epilogue.phase_width = p.source.width;
}

}  // namespace

void conv2d(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const MatrixWeight& weight, const sdn_tensor* channel_add,
            const sdn_tensor* residual, const sdn_conv2d_params& params) {
    Product p;
    p.m = out.shape[0] * out.shape[1] * out.shape[2];
    p.n = weight.rows;
    p.k = weight.columns;
    p.weight = weight.data;
    p.weight_stride = weight.row_stride;
    p.weight_dtype = weight.storage;

    p.source.x = x.data;
    p.source.dtype = x.dtype;
    p.source.channels = static_cast<int32_t>(x.shape[3]);
    p.source.height = static_cast<int32_t>(x.shape[1]);
    p.source.width = static_cast<int32_t>(x.shape[2]);
    set_view(p.source, params.upsample_height > 0 ? params.upsample_height : p.source.height,
             params.upsample_width > 0 ? params.upsample_width : p.source.width);
    p.source.out_height = static_cast<int32_t>(out.shape[1]);
    p.source.out_width = static_cast<int32_t>(out.shape[2]);
    p.source.kernel_height = weight.kernel_height;
    p.source.kernel_width = weight.kernel_width;
    p.source.stride = params.stride;
    p.source.pad_top = params.pad_top;
    p.source.pad_left = params.pad_left;

    p.epilogue.out = out.data;
    p.epilogue.residual = residual != nullptr ? residual->data : nullptr;
    p.epilogue.channel_add = channel_add != nullptr ? channel_add->data : nullptr;
    p.epilogue.bias = weight.bias;
    p.epilogue.columns = p.n;
    p.epilogue.rows_per_add = static_cast<int32_t>(out.shape[1] * out.shape[2]);
    p.epilogue.dtype = out.dtype;
    if (weight.phases != nullptr && doubles_the_image(x, weight, params)) use_phases(p, weight);
    multiply(exec, p);
}

}  // namespace sdn::cuda::SDN_TARGET
