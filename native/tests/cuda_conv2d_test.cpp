// sdn_conv2d on a CUDA device in 16 bits, against a scalar twin in float64: im2col, phases and the epilogues of cuda/gemm.
#include "tests/narrow.h"

namespace sdn::test {

namespace {

struct Case {
    int64_t batch, height, width, channels, outputs;
    int64_t kernel_height = 3, kernel_width = 3;
    sdn_conv2d_params params{1, 1, 1, 1, 1, 0, 0, 0};
    bool bias = true, channel_add = false, residual = false;
    int32_t dtype = SDN_FLOAT16, storage = SDN_FLOAT16;
    int64_t misalign = 0;  // bytes
    bool doubles = false;

    int64_t view_height() const { return params.upsample_height > 0 ? params.upsample_height : height; }
    int64_t view_width() const { return params.upsample_width > 0 ? params.upsample_width : width; }
    Shape out_shape() const {
        return {batch, (view_height() + params.pad_top + params.pad_bottom - kernel_height) / params.stride + 1,
                (view_width() + params.pad_left + params.pad_right - kernel_width) / params.stride + 1, outputs};
    }
    std::string text() const {
        const Shape rest{params.stride,    params.pad_top,         params.pad_left,      params.pad_bottom,
                         params.pad_right, params.upsample_height, params.upsample_width};
        return "x " + text_of({batch, height, width, channels}) + ", w " + text_of({outputs, channels, kernel_height, kernel_width}) +
               ", stride, pads and upsampling " + text_of(rest) + ", bias " + std::to_string(bias) + ", channel_add " +
               std::to_string(channel_add) + ", residual " + std::to_string(residual) + ", " + dtype_name(dtype) + ", storage " +
               dtype_name(storage) + ", " + std::to_string(misalign) + " bytes off";
    }
};

// Inputs and expectation of one case.
struct Layer {
    Case c;
    Array x, values, bias, channel_add, residual;

    explicit Layer(const Case& c_)
        : c(c_),
          x(in_dtype(Array::random({c.batch, c.height, c.width, c.channels}, 1), c.dtype, c.misalign)),
          values(Array::random({c.outputs, c.channels, c.kernel_height, c.kernel_width}, 2)),
          bias(Array::random({c.outputs}, 3)),
          channel_add(in_dtype(Array::random({c.batch, c.outputs}, 4), c.dtype, c.misalign)),
          residual(in_dtype(Array::random(c.out_shape(), 5), c.dtype, c.misalign)) {}

    std::unique_ptr<Weight> weight(sdn_device* device) const {
        const std::vector<const Array*> biases(c.bias ? 1 : 0, &bias);
        return std::make_unique<Weight>(device, SDN_WEIGHT_CONV2D, std::vector<const Array*>{&values}, biases, c.storage, false, c.doubles);
    }

    Array run(sdn_device* device, const Weight& w, std::string* kernels = nullptr) const {
        Array out(c.out_shape(), c.dtype, c.misalign);
        measure_and_run(device, [&](sdn_exec* exec) {
            ok(sdn_conv2d(exec, out(), x(), w, c.channel_add ? channel_add() : nullptr, c.residual ? residual() : nullptr, &c.params));
            if (kernels != nullptr) *kernels = last_kernels(exec);
        });
        return out;
    }

    std::vector<Expected> expected(const std::vector<double>& w) const {
        const Array pixels = in_float32(x), added = in_float32(channel_add), rest = in_float32(residual);
        const Shape out = c.out_shape();
        const sdn_conv2d_params& p = c.params;
        std::vector<Expected> result;
        for (int64_t b = 0; b < c.batch; ++b)
            for (int64_t y = 0; y < out[1]; ++y)
                for (int64_t column = 0; column < out[2]; ++column)
                    for (int64_t o = 0; o < c.outputs; ++o) {
                        Sum sum;
                        double phase_squares = 0;  // of the products of the phases, each with all taps on one pixel
                        for (int64_t channel = 0; channel < c.channels; ++channel) {
                            double taps[4] = {};  // on each pixel that a phase sees, summed
                            for (int64_t i = 0; i < c.kernel_height; ++i)
                                for (int64_t j = 0; j < c.kernel_width; ++j) {
                                    int64_t at_y = y * p.stride + i - p.pad_top, at_x = column * p.stride + j - p.pad_left;
                                    if (at_y < 0 || at_y >= c.view_height() || at_x < 0 || at_x >= c.view_width()) continue;
                                    at_y = at_y * c.height / c.view_height(), at_x = at_x * c.width / c.view_width();
                                    const int64_t at = ((b * c.height + at_y) * c.width + at_x) * c.channels + channel;
                                    const double product =
                                        w[static_cast<size_t>(((o * c.channels + channel) * c.kernel_height + i) * c.kernel_width + j)] *
                                        static_cast<double>(pixels[at]);
                                    sum.add(product);
                                    taps[((at_y - y / 2 + 1) & 1) * 2 + ((at_x - column / 2 + 1) & 1)] += product;
                                }
                            for (const double tap : taps) phase_squares += tap * tap;
                        }
                        if (c.bias) sum.add(static_cast<double>(bias[o]));
                        if (c.channel_add) sum.add(static_cast<double>(added[b * c.outputs + o]));
                        if (c.residual) sum.add(static_cast<double>(rest[((b * out[1] + y) * out[2] + column) * c.outputs + o]));
                        double limit = kTensorCore * sum.limit();
                        if (c.doubles) limit += kPhaseWeights * weight_unit() * std::sqrt(phase_squares);
                        result.push_back({sum.value(), stored_limit(sum.value(), limit, c.dtype)});
                    }
        return result;
    }

    double weight_unit() const { return c.storage == SDN_FLOAT32 ? kUnit : c.storage == SDN_FLOAT16 ? kFloat16Unit : kBFloat16Unit; }
};

constexpr sdn_conv2d_params kPadded{1, 1, 1, 1, 1, 0, 0, 0};
constexpr sdn_conv2d_params kOnePixel{1, 0, 0, 0, 0, 0, 0, 0};

sdn_conv2d_params resized(int32_t height, int32_t width) {
    return {1, 1, 1, 1, 1, height, width, 0};
}

}  // namespace

class CudaConv2d : public EachDevice {
  protected:
    // kernels: what the emulated device, with its 16 multiprocessors, must have run; "": whatever it likes.
    void expect_twin(const Case& c, const std::string& kernels = "") {
        const Device device(GetParam());
        const Layer layer(c);
        const std::unique_ptr<Weight> w = layer.weight(device);
        std::string ran;
        EXPECT_TRUE(within_limits(in_float32(layer.run(device, *w, &ran)), layer.expected(stored_values(*w)))) << c.text() << " by " << ran;
        if (!kernels.empty() && GetParam() == std::string("cuda:emulated")) {
            EXPECT_EQ(ran, kernels) << c.text();
        }
    }
    void expect_twin_in_both(Case c, const std::string& kernels = "") {
        for (const int32_t dtype : {SDN_FLOAT16, SDN_BFLOAT16}) {
            c.dtype = c.storage = dtype;
            expect_twin(c, kernels);
        }
    }
};
SDN_FOR_EACH_CUDA_DEVICE(CudaConv2d);

TEST_P(CudaConv2d, OddSizes_EqualTheTwin) {
    const ForcedTile forced(6, 1, 2);
    for (const int64_t channels : {8, 24, 64, 72}) {
        for (const int64_t outputs : {5, 8, 33}) expect_twin({2, 7, 5, channels, outputs}, "sm80_gemm_64x64x64_im2col");
        for (const int64_t outputs : {1, 3, 4}) expect_twin_in_both({2, 7, 5, channels, outputs}, "few_columns");
    }
    for (const int64_t channels : {1, 3, 4, 9, 17})
        for (const int64_t outputs : {3, 16}) expect_twin_in_both({2, 7, 5, channels, outputs}, "sm80_gemm_128x64x64_gather");
    expect_twin_in_both({1, 1, 1, 16, 9});
    expect_twin_in_both({3, 1, 64, 40, 24});
}

TEST_P(CudaConv2d, EveryTile_EqualsTheTwin) {
    for (int tile = 0; tile < 7; ++tile)
        for (const int splits : {1, 3}) {
            const ForcedTile forced(tile, splits, 3);
            Case c{3, 9, 7, 40, 168};
            c.channel_add = c.residual = true;
            expect_twin_in_both(c);
        }
}

TEST_P(CudaConv2d, StridesPadsAndKernels_EqualTheTwin) {
    for (const int64_t channels : {40, 5})  // in chunks, and gathered
        for (const int32_t stride : {1, 2}) {
            expect_twin({2, 8, 9, channels, 24, 3, 3, {stride, 0, 0, 1, 1, 0, 0, 0}});
            expect_twin({2, 9, 8, channels, 24, 3, 3, {stride, 1, 1, 1, 1, 0, 0, 0}});
            expect_twin({1, 6, 7, channels, 24, 3, 3, {stride, 2, 0, 3, 5, 0, 0, 0}});
            expect_twin({2, 6, 7, channels, 24, 1, 1, {stride, 0, 0, 0, 0, 0, 0, 0}});
            expect_twin({2, 6, 7, channels, 24, 1, 1, {stride, 1, 0, 0, 2, 0, 0, 0}});
            expect_twin({1, 6, 7, channels, 24, 1, 3, {stride, 0, 1, 0, 1, 0, 0, 0}});
            expect_twin({1, 9, 9, channels, 24, 5, 2, {stride, 2, 0, 2, 1, 0, 0, 0}});
            expect_twin({1, 9, 9, channels, 4, 5, 2, {stride, 2, 0, 2, 1, 0, 0, 0}});
        }
}

TEST_P(CudaConv2d, Upsampled_EqualsTheTwin) {
    for (const int64_t channels : {24, 3}) {
        expect_twin({1, 4, 5, channels, 16, 3, 3, resized(7, 9)});
        expect_twin({2, 3, 3, channels, 16, 3, 3, resized(8, 3)});
        expect_twin({1, 8, 9, channels, 16, 3, 3, resized(5, 4)});
        expect_twin({1, 4, 5, channels, 16, 3, 3, {1, 0, 0, 0, 0, 8, 10, 0}});
        expect_twin({1, 4, 5, channels, 3, 3, 3, resized(8, 10)});
        expect_twin({1, 5, 5, channels, 16, 3, 3, {2, 1, 1, 1, 1, 10, 10, 0}});
    }
}

// The sizes at which the image is convolved in four phases, if the weight was packed for it.
TEST_P(CudaConv2d, Doubled_EqualsTheTwin) {
    for (const bool doubles : {false, true}) {
        const std::string loader = doubles ? "phases" : "im2col";
        Case c{2, 4, 5, 24, 16, 3, 3, resized(8, 10)};
        c.doubles = doubles;
        expect_twin_in_both(c, "sm80_gemm_64x80x64_sliced_" + loader);
        c.channel_add = c.residual = true;
        expect_twin_in_both(c, "sm80_gemm_64x80x64_sliced_" + loader);
        const ForcedTile forced(1, 2, 3);
        expect_twin_in_both(c, "sm80_gemm_128x160x64_sliced_split2_" + loader + " + sm80_split_sum");
        c.height = 1, c.width = 1, c.params = resized(2, 2);
        expect_twin_in_both(c);
        c.height = 13, c.width = 6, c.params = resized(26, 12), c.outputs = 37;
        expect_twin_in_both(c);
    }
    for (const int64_t channels : {24, 5}) {  // what phases do not serve: other sizes, other pads
        Case c{1, 4, 5, channels, 16, 3, 3, resized(8, 9)};
        c.doubles = true;
        expect_twin(c);
        c.params = {1, 1, 0, 1, 2, 8, 10, 0};
        expect_twin(c);
    }
    Case gathered{2, 4, 5, 3, 16, 3, 3, resized(8, 10)};
    gathered.doubles = true;
    expect_twin_in_both(gathered, "sm80_gemm_128x64x64_gather");
    gathered.dtype = gathered.storage = SDN_FLOAT32;
    expect_twin(gathered, "simt_gemm_64x64x16");
}

TEST_P(CudaConv2d, EveryFusion_EqualsTheTwin) {
    for (int flags = 0; flags < 8; ++flags)
        for (const int64_t outputs : {40, 37, 3}) {
            Case c{2, 5, 6, 48, outputs};
            c.bias = flags & 1, c.channel_add = flags & 2, c.residual = flags & 4;
            expect_twin_in_both(c);
            c.kernel_height = c.kernel_width = 1;
            c.params = kOnePixel;
            expect_twin_in_both(c);
            c.channels = 4;
            expect_twin_in_both(c);
        }
}

TEST_P(CudaConv2d, Misaligned_EqualsTheTwin) {
    for (const int64_t misalign : {2, 4, 8})
        for (const int64_t outputs : {3, 40}) {
            Case c{2, 5, 6, 48, outputs};
            c.channel_add = c.residual = true;
            c.misalign = misalign;
            expect_twin_in_both(c);
        }
}

TEST_P(CudaConv2d, MixedDtypes_EqualTheTwin) {
    for (const int32_t dtype : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16})
        for (const int32_t storage : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16}) {
            if (dtype == storage && dtype != SDN_FLOAT32) continue;
            Case c{2, 4, 5, 24, 16, 3, 3, kPadded, true, true, true};
            c.dtype = dtype, c.storage = storage;
            expect_twin(c, "simt_gemm_64x64x16");
        }
}

TEST_P(CudaConv2d, AnyOrderOfBlocks_SameBits) {
    Case doubled{1, 6, 5, 40, 72, 3, 3, resized(12, 10)};
    doubled.doubles = true;
    Case split{2, 8, 8, 72, 72};
    split.channel_add = split.residual = true;
    for (const Case& c : {doubled, split, Case{1, 20, 20, 40, 3}, Case{1, 9, 9, 4, 24}}) {
        const ForcedTile forced(1, 3, 3);
        const Layer layer(c);
        same_for_any_threads([&](sdn_device* device, sdn_exec*) { return layer.run(device, *layer.weight(device)); });
    }
}

}  // namespace sdn::test
