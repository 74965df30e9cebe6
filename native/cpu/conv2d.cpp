// Computes:  out[b,y,x,o] = sum w[o,c,i,j] * x[b, y*stride+i-pad_top, x*stride+j-pad_left, c] + bias[o] + channel_add[b,o] + residual
// Shapes:    x [B,H,W,C] (read as if resized to the upsampled size), w [O,C,kh,kw], out and residual [B,Ho,Wo,O], channel_add [B,O]
// Algorithm: the matrix mainloop of cpu/gemm over B*Ho*Wo rows of K = kh*kw*C; im2col happens block by block, in cache. 1x1 is a linear
//            layer. 3x3 over a doubled image is four 2x2 convolutions of the image itself: see gemm/phase_weights.inl.h. With
//            SDN_PRECISION_FAST, 3x3 of many pixels is gemm/winograd.cpp.
// Launch:    one parallel index per tile.
#include "cpu/gemm/loaders.inl.h"
#include "cpu/gemm/mainloop.inl.h"
#include "cpu/gemm/phase_weights.inl.h"
#include "cpu/gemm/winograd.inl.h"
#include "cpu/ops.inl.h"

namespace sdn::cpu::SDN_ISA {

namespace {

constexpr int64_t kMostPhaseBytes = int64_t{16} << 20;  // of the summed weights at a time: they stay in the level-3 cache

bool pads_are(const sdn_conv2d_params& p, int32_t pad) {
    return p.pad_top == pad && p.pad_left == pad && p.pad_bottom == pad && p.pad_right == pad;
}

bool is_linear(const PackedMatrix& weight, const sdn_conv2d_params& p) {
    return weight.kernel_height == 1 && weight.kernel_width == 1 && p.stride == 1 && p.upsample_height == 0 && pads_are(p, 0);
}

bool doubles_the_image(const sdn_tensor& x, const PackedMatrix& weight, const sdn_conv2d_params& p) {
    return weight.kernel_height == 3 && weight.kernel_width == 3 && p.stride == 1 && pads_are(p, 1) &&
           p.upsample_height == 2 * x.shape[1] && p.upsample_width == 2 * x.shape[2];
}

ConvolutionLoader make_loader(const sdn_tensor& out, const sdn_tensor& x, const PackedMatrix& weight, const sdn_conv2d_params& p) {
    ConvolutionLoader loader;
    loader.x = static_cast<const float*>(x.data);
    loader.height = x.shape[1], loader.width = x.shape[2], loader.channels = x.shape[3];
    loader.view_height = p.upsample_height > 0 ? p.upsample_height : x.shape[1];
    loader.view_width = p.upsample_width > 0 ? p.upsample_width : x.shape[2];
    loader.out_height = out.shape[1], loader.out_width = out.shape[2];
    loader.kernel_width = weight.kernel_width;
    loader.stride = p.stride;
    loader.pad_top = p.pad_top, loader.pad_left = p.pad_left;
    return loader;
}

// The summed weights of some panels: phase by phase, panel by panel.
struct PhaseWeights {
    const PackedMatrix& weight;
    int64_t first_panel, panel_count;
    char* sums;

    char* panel(int64_t phase, int64_t i) const { return sums + (phase * panel_count + i) * phase_panel_bytes(weight); }

    static void sum(void* context, int64_t index, int) {
        const PhaseWeights& w = *static_cast<const PhaseWeights*>(context);
        const int64_t phase = index / w.panel_count, i = index % w.panel_count;
        sum_phase_panel(w.weight, w.first_panel + i, phase / 2, phase % 2, w.panel(phase, i));
    }

    // The 2x2 convolution of a phase.
    PackedMatrix matrix(int64_t phase) const {
        PackedMatrix m = weight;
        m.data = panel(phase, 0);
        m.storage = weight.pairs ? SDN_BFLOAT16 : weight.halves ? SDN_FLOAT16 : SDN_FLOAT32;
        m.half_unit = phase_half_unit(weight);
        m.panel_count = panel_count;
        m.rows = min_of(panel_count * kPanelColumns, weight.rows - first_panel * kPanelColumns);
        m.columns = weight.columns / 9 * 4;
        m.kernel_height = m.kernel_width = 2;
        return m;
    }
};

// The epilogue of some of its columns.
Epilogue columns_of(Epilogue e, int64_t first, int64_t count) {
    e.columns = count;
    e.out += first;
    if (e.bias) e.bias += first;
    if (e.residual) e.residual += first;
    if (e.channel_add) e.channel_add += first;
    return e;
}

// 3x3 over an image doubled by nearest neighbour.
void conv2d_doubled(Exec& exec, const sdn_tensor& x, const PackedMatrix& weight, ConvolutionLoader loader, const Epilogue& whole) {
    loader.out_height = loader.view_height = loader.height;
    loader.out_width = loader.view_width = loader.width;
    loader.kernel_width = 2;
    const int64_t rows = x.shape[0] * x.shape[1] * x.shape[2];
    const int64_t panels_at_once = max_of(1, min_of(weight.panel_count, kMostPhaseBytes / (4 * phase_panel_bytes(weight))));
    char* const sums = static_cast<char*>(exec_scratch(exec, panels_at_once * 4 * phase_panel_bytes(weight)));
    for (int64_t panel = 0; panel < weight.panel_count; panel += panels_at_once) {
        PhaseWeights phases{weight, panel, min_of(panels_at_once, weight.panel_count - panel), sums};
        if (!exec_measuring(exec)) exec_parallel_for(exec, 4 * phases.panel_count, PhaseWeights::sum, &phases);
        for (int64_t phase = 0; phase < 4; ++phase) {
            const PackedMatrix m = phases.matrix(phase);
            Epilogue epilogue = columns_of(whole, panel * kPanelColumns, m.rows);
            epilogue.phase_width = loader.width;
            epilogue.phase_y = phase / 2, epilogue.phase_x = phase % 2;
            loader.pad_top = 1 - epilogue.phase_y, loader.pad_left = 1 - epilogue.phase_x;
            multiply_matrix(exec, loader, rows, m, epilogue);
        }
    }
    exec_release(exec, sums);
}

}  // namespace

void conv2d(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const PackedMatrix& weight, const sdn_tensor* channel_add,
            const sdn_tensor* residual, const sdn_conv2d_params& params) {
    Epilogue epilogue;
    epilogue.out = static_cast<float*>(out.data);
    epilogue.columns = epilogue.row_floats = weight.rows;
    epilogue.bias = weight.bias;
    epilogue.residual = residual ? static_cast<const float*>(residual->data) : nullptr;
    epilogue.channel_add = channel_add ? static_cast<const float*>(channel_add->data) : nullptr;
    epilogue.rows_per_add = out.shape[1] * out.shape[2];
    const int64_t rows = out.shape[0] * epilogue.rows_per_add;

    const ConvolutionLoader loader = make_loader(out, x, weight, params);
    if (is_linear(weight, params))
        multiply_matrix(exec, RowLoader{loader.x, loader.channels, nullptr, 0}, rows, weight, epilogue);
    else if (winograd_pays(loader, x.shape[0], weight))
        conv2d_winograd(exec, loader, x.shape[0], weight, epilogue);
    else if (weight.storage != SDN_INT8 && doubles_the_image(x, weight, params))
        conv2d_doubled(exec, x, weight, loader, epilogue);
    else
        multiply_matrix(exec, loader, rows, weight, epilogue);
}

}  // namespace sdn::cpu::SDN_ISA
