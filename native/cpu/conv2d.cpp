// Computes:  out[b,y,x,o] = sum w[o,c,i,j] * x[b, y*stride+i-pad_top, x*stride+j-pad_left, c] + bias + channel_add + residual.
// Algorithm: per output row and panel of outputs, plain sums over the taps inside the image.
#include "cpu/gemm/plain.inl.h"

namespace sdn::cpu::SDN_ISA {

namespace {

struct Work {
    const float *x, *channel_add, *residual;
    float* out;
    const PackedMatrix& weight;
    const sdn_conv2d_params& params;
    int64_t height, width, channels;  // of x
    int64_t up_height, up_width;      // after the resize
    int64_t out_height, out_width, outputs;
};

void run_row(void* context, int64_t index, int) {
    const Work& w = *static_cast<const Work*>(context);
    const int64_t panel = index % w.weight.panel_count, row = index / w.weight.panel_count;
    const int64_t b = row / w.out_height, y = row % w.out_height;
    const int64_t n0 = panel * 16, n_count = w.outputs - n0 < 16 ? w.outputs - n0 : 16;
    for (int64_t x = 0; x < w.out_width; ++x) {
        float sums[16] = {};
        for (int64_t i = 0; i < w.weight.kernel_height; ++i) {
            const int64_t up_y = y * w.params.stride + i - w.params.pad_top;
            if (up_y < 0 || up_y >= w.up_height) continue;
            const int64_t in_y = up_y * w.height / w.up_height;
            for (int64_t j = 0; j < w.weight.kernel_width; ++j) {
                const int64_t up_x = x * w.params.stride + j - w.params.pad_left;
                if (up_x < 0 || up_x >= w.up_width) continue;
                const int64_t in_x = up_x * w.width / w.up_width;
                multiply_panel(w.weight, panel, (i * w.weight.kernel_width + j) * w.channels,
                               w.x + ((b * w.height + in_y) * w.width + in_x) * w.channels, w.channels, sums);
            }
        }
        const int64_t at = (row * w.out_width + x) * w.outputs + n0;
        for (int64_t n = 0; n < n_count; ++n) {
            float value = sums[n];
            if (w.weight.bias != nullptr) value += w.weight.bias[n0 + n];
            if (w.channel_add != nullptr) value += w.channel_add[b * w.outputs + n0 + n];
            if (w.residual != nullptr) value += w.residual[at + n];
            w.out[at + n] = value;
        }
    }
}

}  // namespace

void conv2d(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const PackedMatrix& weight, const sdn_tensor* channel_add,
            const sdn_tensor* residual, const sdn_conv2d_params& params) {
    if (exec_measuring(exec)) return;
    Work w{static_cast<const float*>(x.data),
           channel_add != nullptr ? static_cast<const float*>(channel_add->data) : nullptr,
           residual != nullptr ? static_cast<const float*>(residual->data) : nullptr,
           static_cast<float*>(out.data),
           weight,
           params,
           x.shape[1],
           x.shape[2],
           x.shape[3],
           params.upsample_height > 0 ? params.upsample_height : x.shape[1],
           params.upsample_width > 0 ? params.upsample_width : x.shape[2],
           out.shape[1],
           out.shape[2],
           out.shape[3]};
    exec_parallel_for(exec, out.shape[0] * w.out_height * weight.panel_count, run_row, &w);
}

}  // namespace sdn::cpu::SDN_ISA
