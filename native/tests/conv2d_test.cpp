// sdn_conv2d against a scalar twin in float64.
#include "matrix_testing.h"

using namespace matrix_testing;

namespace {

struct Case {
    int64_t batch, height, width, channels, outputs;
    int64_t kernel_height = 3, kernel_width = 3;
    sdn_conv2d_params params{1, 1, 1, 1, 1, 0, 0, 0};
    bool bias = true, channel_add = false, residual = false;
    int32_t storage = SDN_FLOAT32;

    int64_t view_height() const { return params.upsample_height > 0 ? params.upsample_height : height; }
    int64_t view_width() const { return params.upsample_width > 0 ? params.upsample_width : width; }
    int64_t out_height() const { return (view_height() + params.pad_top + params.pad_bottom - kernel_height) / params.stride + 1; }
    int64_t out_width() const { return (view_width() + params.pad_left + params.pad_right - kernel_width) / params.stride + 1; }
    std::string text() const {
        std::string s = "x [";
        for (const int64_t n : {batch, height, width, channels}) s += std::to_string(n) + ",";
        s += "] w [";
        for (const int64_t n : {outputs, channels, kernel_height, kernel_width}) s += std::to_string(n) + ",";
        s += "] stride, pads and upsampling";
        for (const int32_t n : {params.stride, params.pad_top, params.pad_left, params.pad_bottom, params.pad_right, params.upsample_height,
                                params.upsample_width})
            s += " " + std::to_string(n);
        return s + ", bias " + std::to_string(bias) + ", channel_add " + std::to_string(channel_add) + ", residual " +
               std::to_string(residual) + ", storage " + std::to_string(storage);
    }
};

struct Convolution {
    Case c;
    Misaligned x, values, bias, channel_add, residual, out;

    explicit Convolution(const Case& c_) : c(c_) {
        x = random_values(c.batch * c.height * c.width * c.channels, 1);
        values = random_values(c.outputs * c.channels * c.kernel_height * c.kernel_width, 2);
        bias = random_values(c.outputs, 3);
        channel_add = random_values(c.batch * c.outputs, 4);
        residual = random_values(out_size(), 5);
    }

    int64_t out_size() const { return c.batch * c.out_height() * c.out_width() * c.outputs; }

    Weight weight(sdn_device* device) {
        return make_weight(device, SDN_WEIGHT_CONV2D, c.storage, {c.outputs, c.channels, c.kernel_height, c.kernel_width}, values.data(),
                           c.bias ? bias.data() : nullptr);
    }

    void run(sdn_device* device, const sdn_weight* w) {
        out = Misaligned(out_size(), std::nanf(""));
        const sdn_tensor to = tensor(out.data(), {c.batch, c.out_height(), c.out_width(), c.outputs}),
                         tx = tensor(x.data(), {c.batch, c.height, c.width, c.channels}),
                         ta = tensor(channel_add.data(), {c.batch, c.outputs}),
                         tr = tensor(residual.data(), {c.batch, c.out_height(), c.out_width(), c.outputs});
        measure_and_run(device, [&](sdn_exec* exec) {
            return sdn_conv2d(exec, &to, &tx, w, c.channel_add ? &ta : nullptr, c.residual ? &tr : nullptr, &c.params);
        });
    }

    // x resized to the view, zero outside.
    double pixel(int64_t b, int64_t y, int64_t column, int64_t channel) {
        if (y < 0 || y >= c.view_height() || column < 0 || column >= c.view_width()) return 0;
        y = y * c.height / c.view_height();
        column = column * c.width / c.view_width();
        return static_cast<double>(x[((b * c.height + y) * c.width + column) * c.channels + channel]);
    }

    Expected expected_at(const std::vector<double>& w, int64_t b, int64_t y, int64_t column, int64_t o) {
        Sum sum;
        for (int64_t channel = 0; channel < c.channels; ++channel) {
            for (int64_t i = 0; i < c.kernel_height; ++i) {
                for (int64_t j = 0; j < c.kernel_width; ++j) {
                    const size_t at = static_cast<size_t>(((o * c.channels + channel) * c.kernel_height + i) * c.kernel_width + j);
                    sum.add(w[at] * pixel(b, y * c.params.stride + i - c.params.pad_top, column * c.params.stride + j - c.params.pad_left,
                                          channel));
                }
            }
        }
        if (c.bias) sum.add(static_cast<double>(bias[o]));
        if (c.channel_add) sum.add(static_cast<double>(channel_add[b * c.outputs + o]));
        if (c.residual) {
            sum.add(static_cast<double>(residual[((b * c.out_height() + y) * c.out_width() + column) * c.outputs + o]));
        }
        return {sum.value(), sum.limit()};
    }

    std::vector<Expected> expected(const std::vector<double>& w) {
        std::vector<Expected> result;
        for (int64_t b = 0; b < c.batch; ++b)
            for (int64_t y = 0; y < c.out_height(); ++y)
                for (int64_t column = 0; column < c.out_width(); ++column)
                    for (int64_t o = 0; o < c.outputs; ++o) result.push_back(expected_at(w, b, y, column, o));
        return result;
    }
};

class Conv2dTest : public EveryInstructionSet {
  protected:
    void expect_twin(const Case& c) {
        const Device device = open_device(GetParam(), 2);
        Convolution convolution(c);
        const Weight w = convolution.weight(device.get());
        convolution.run(device.get(), w.get());
        expect_close(c.text(), convolution.out, convolution.expected(stored_values(w.get())));
    }
};

TEST_P(Conv2dTest, Conv2d_OddSizes_MatchTwin) {
    for (const int64_t channels : {1, 3, 4, 17, 40, 130}) {
        for (const int64_t outputs : {1, 3, 4, 16, 33}) expect_twin({2, 7, 5, channels, outputs});
    }
    expect_twin({1, 1, 1, 5, 9});
    expect_twin({1, 40, 37, 9, 70});
    expect_twin({3, 1, 64, 390, 2});
}

TEST_P(Conv2dTest, Conv2d_StridesPadsAndKernels_MatchTwin) {
    for (const int32_t stride : {1, 2}) {
        expect_twin({2, 8, 9, 20, 12, 3, 3, {stride, 0, 0, 1, 1, 0, 0, 0}});
        expect_twin({2, 9, 8, 6, 12, 3, 3, {stride, 1, 1, 1, 1, 0, 0, 0}});
        expect_twin({1, 6, 7, 6, 12, 3, 3, {stride, 2, 0, 3, 5, 0, 0, 0}});
        expect_twin({2, 6, 7, 30, 12, 1, 1, {stride, 0, 0, 0, 0, 0, 0, 0}});
        expect_twin({2, 6, 7, 30, 12, 1, 1, {stride, 1, 0, 0, 2, 0, 0, 0}});
        expect_twin({1, 6, 7, 11, 12, 1, 3, {stride, 0, 1, 0, 1, 0, 0, 0}});
        expect_twin({1, 9, 9, 11, 12, 5, 2, {stride, 2, 0, 2, 1, 0, 0, 0}});
    }
}

TEST_P(Conv2dTest, Conv2d_Upsampled_MatchesTwin) {
    expect_twin({2, 4, 5, 20, 12, 3, 3, {1, 1, 1, 1, 1, 8, 10, 0}});
    expect_twin({1, 4, 5, 20, 12, 3, 3, {1, 1, 1, 1, 1, 7, 9, 0}});
    expect_twin({1, 1, 1, 3, 40, 3, 3, {1, 1, 1, 1, 1, 2, 2, 0}});
    expect_twin({1, 2, 3, 400, 700, 3, 3, {1, 1, 1, 1, 1, 4, 6, 0}});
    expect_twin({1, 4, 5, 20, 12, 3, 3, {1, 0, 0, 0, 0, 8, 10, 0}});
    expect_twin({1, 3, 3, 20, 12, 3, 3, {1, 1, 1, 1, 1, 8, 3, 0}});
    expect_twin({1, 4, 4, 20, 12, 1, 1, {1, 0, 0, 0, 0, 8, 8, 0}});
    expect_twin({1, 5, 5, 20, 12, 3, 3, {2, 1, 1, 1, 1, 10, 10, 0}});
}

TEST_P(Conv2dTest, Conv2d_EveryFusion_MatchesTwin) {
    for (const int32_t storage : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16}) {
        for (int flags = 0; flags < 8; ++flags) {
            Case c{2, 5, 6, 50, 37};
            c.bias = flags & 1, c.channel_add = flags & 2, c.residual = flags & 4;
            c.storage = storage;
            expect_twin(c);
            c.params = {1, 1, 1, 1, 1, 10, 12, 0};
            expect_twin(c);
            c.kernel_height = c.kernel_width = 1;
            c.params = {1, 0, 0, 0, 0, 0, 0, 0};
            expect_twin(c);
        }
    }
}

TEST_P(Conv2dTest, Conv2d_AnyThreadCount_SameBits) {
    Case upsampled{1, 12, 11, 60, 90, 3, 3, {1, 1, 1, 1, 1, 24, 22, 0}};
    upsampled.storage = SDN_FLOAT16;
    Case small{2, 8, 8, 300, 330};
    small.channel_add = small.residual = true;
    for (const Case& c : {upsampled, small, Case{1, 40, 40, 50, 3}}) {
        Convolution convolution(c);
        Misaligned first;
        for (const int threads : {1, 2, 5}) {
            const Device device = open_device(GetParam(), threads);
            convolution.run(device.get(), convolution.weight(device.get()).get());
            if (threads == 1) first = Misaligned(convolution.out);
            expect_same_bits(c.text() + " with " + std::to_string(threads) + " threads", convolution.out, first);
        }
    }
}

INSTANTIATE_FOR_EVERY_INSTRUCTION_SET(Conv2dTest);

}  // namespace
