// sdn_conv2d against a scalar twin in float64.
#include "tests/sums.h"

namespace sdn::test {

namespace {

struct Case {
    int64_t batch, height, width, channels, outputs;
    int64_t kernel_height = 3, kernel_width = 3;
    sdn_conv2d_params params{1, 1, 1, 1, 1, 0, 0, 0};
    bool bias = true, channel_add = false, residual = false;
    int32_t storage = SDN_FLOAT32, precision = SDN_PRECISION_REFERENCE;

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
               std::to_string(channel_add) + ", residual " + std::to_string(residual) + ", storage " + dtype_name(storage);
    }
};

// Inputs and expectation of one case.
struct Layer {
    Case c;
    Array x, values, bias, channel_add, residual;

    explicit Layer(const Case& c_)
        : c(c_),
          x(Array::random({c.batch, c.height, c.width, c.channels}, 1, -1, 1, kMisaligned)),
          values(Array::random({c.outputs, c.channels, c.kernel_height, c.kernel_width}, 2)),
          bias(Array::random({c.outputs}, 3)),
          channel_add(Array::random({c.batch, c.outputs}, 4, -1, 1, kMisaligned)),
          residual(Array::random(c.out_shape(), 5, -1, 1, kMisaligned)) {
        if (c.precision == SDN_PRECISION_FAST) round_to(x, c.storage);
    }

    std::unique_ptr<Weight> weight(sdn_device* device) const {
        const std::vector<const Array*> biases(c.bias ? 1 : 0, &bias);
        return std::make_unique<Weight>(device, SDN_WEIGHT_CONV2D, std::vector<const Array*>{&values}, biases, c.storage);
    }

    Array run(sdn_device* device, const Weight& w) const {
        Array out(c.out_shape(), SDN_FLOAT32, kMisaligned);
        measure_and_run(device, [&](sdn_exec* exec) {
            ok(sdn_conv2d(exec, out(), x(), w, c.channel_add ? channel_add() : nullptr, c.residual ? residual() : nullptr, &c.params));
        });
        return out;
    }

    // x resized to the view, zero outside.
    double pixel(int64_t b, int64_t y, int64_t column, int64_t channel) const {
        if (y < 0 || y >= c.view_height() || column < 0 || column >= c.view_width()) return 0;
        y = y * c.height / c.view_height();
        column = column * c.width / c.view_width();
        return static_cast<double>(x[((b * c.height + y) * c.width + column) * c.channels + channel]);
    }

    Expected expected_at(const std::vector<double>& w, bool halves, int64_t b, int64_t y, int64_t column, int64_t o) const {
        const Shape out = c.out_shape();
        const sdn_conv2d_params& p = c.params;
        Sum sum;
        for (int64_t channel = 0; channel < c.channels; ++channel)
            for (int64_t i = 0; i < c.kernel_height; ++i)
                for (int64_t j = 0; j < c.kernel_width; ++j) {
                    const size_t at = static_cast<size_t>(((o * c.channels + channel) * c.kernel_height + i) * c.kernel_width + j);
                    sum.add(w[at], pixel(b, y * p.stride + i - p.pad_top, column * p.stride + j - p.pad_left, channel));
                }
        if (c.bias) sum.add(static_cast<double>(bias[o]));
        if (c.channel_add) sum.add(static_cast<double>(channel_add[b * c.outputs + o]));
        if (c.residual) sum.add(static_cast<double>(residual[((b * out[1] + y) * out[2] + column) * c.outputs + o]));
        // The sums of a doubled image's weights are rounded to the storage once more.
        const bool sums_weights = c.precision == SDN_PRECISION_FAST && p.upsample_height > 0;
        return {sum.value(),
                (c.precision == SDN_PRECISION_FAST ? kWinograd : 1) * sum.limit() + (halves ? sum.limit_in_halves() : 0) +
                    (sums_weights ? kPhaseWeights * (c.storage == SDN_FLOAT16 ? kFloat16Unit : kBFloat16Unit) * sum.root_of_squares() : 0)};
    }

    std::vector<Expected> expected(const std::vector<double>& w, bool halves) const {
        const Shape out = c.out_shape();
        std::vector<Expected> result;
        for (int64_t b = 0; b < c.batch; ++b)
            for (int64_t y = 0; y < out[1]; ++y)
                for (int64_t column = 0; column < out[2]; ++column)
                    for (int64_t o = 0; o < c.outputs; ++o) result.push_back(expected_at(w, halves, b, y, column, o));
        return result;
    }
};

}  // namespace

class Conv2d : public EachDevice {
  protected:
    void expect_twin(const Case& c, bool winograd = false) {
        const Device device(GetParam(), 2, c.precision);
        const Layer layer(c);
        const std::unique_ptr<Weight> w = layer.weight(device);
        EXPECT_TRUE(
            within_limits(layer.run(device, *w), layer.expected(stored_values(*w), !winograd && multiplies_halves(device, c.storage))))
            << c.text();
    }
};
SDN_FOR_EACH_DEVICE(Conv2d);

TEST_P(Conv2d, OddSizes_EqualTheTwin) {
    for (const int64_t channels : {1, 3, 4, 17, 40, 130})
        for (const int64_t outputs : {1, 3, 4, 16, 33}) expect_twin({2, 7, 5, channels, outputs});
    expect_twin({1, 1, 1, 5, 9});
    expect_twin({1, 40, 37, 9, 70});
    expect_twin({3, 1, 64, 390, 2});
}

TEST_P(Conv2d, StridesPadsAndKernels_EqualTheTwin) {
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

TEST_P(Conv2d, Upsampled_EqualsTheTwin) {
    expect_twin({1, 4, 5, 20, 12, 3, 3, {1, 1, 1, 1, 1, 7, 9, 0}});
    expect_twin({1, 3, 3, 20, 12, 3, 3, {1, 1, 1, 1, 1, 8, 3, 0}});
    expect_twin({1, 4, 5, 20, 12, 3, 3, {1, 0, 0, 0, 0, 8, 10, 0}});
    expect_twin({1, 4, 4, 20, 12, 1, 1, {1, 0, 0, 0, 0, 8, 8, 0}});
    expect_twin({1, 5, 5, 20, 12, 3, 3, {2, 1, 1, 1, 1, 10, 10, 0}});
}

// The sizes at which the image is convolved in four phases; the last one's weights are summed in several rounds.
TEST_P(Conv2d, Doubled_EqualsTheTwin) {
    expect_twin({2, 4, 5, 20, 12, 3, 3, {1, 1, 1, 1, 1, 8, 10, 0}});
    expect_twin({1, 1, 1, 3, 40, 3, 3, {1, 1, 1, 1, 1, 2, 2, 0}});
    expect_twin({3, 6, 1, 33, 65, 3, 3, {1, 1, 1, 1, 1, 12, 2, 0}});
    expect_twin({1, 1, 2, 400, 700, 3, 3, {1, 1, 1, 1, 1, 2, 4, 0}});
}

TEST_P(Conv2d, EveryFusion_EqualsTheTwin) {
    for (const int32_t storage : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16})
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

// As for linear layers; 5 channels are no pairs.
TEST_P(Conv2d, FastPrecision_EqualsTheTwin) {
    std::vector<Case> cases;
    for (const int64_t channels : {2, 4, 5, 40, 130}) cases.push_back({2, 7, 5, channels, 33});
    cases.push_back({2, 8, 9, 20, 12, 3, 3, {2, 0, 0, 1, 1, 0, 0, 0}});
    cases.push_back({2, 6, 7, 30, 12, 1, 1, {1, 0, 0, 0, 0, 0, 0, 0}});
    cases.push_back({1, 9, 9, 12, 12, 5, 2, {1, 2, 0, 2, 1, 0, 0, 0}});
    cases.push_back({1, 4, 5, 20, 12, 3, 3, {1, 1, 1, 1, 1, 7, 9, 0}});
    cases.push_back({2, 4, 5, 20, 40, 3, 3, {1, 1, 1, 1, 1, 8, 10, 0}});
    cases.push_back({1, 1, 2, 400, 700, 3, 3, {1, 1, 1, 1, 1, 2, 4, 0}});
    for (Case c : cases)
        for (const int32_t storage : fast_storages(on_cpu())) {
            c.storage = storage, c.precision = SDN_PRECISION_FAST;
            expect_twin(c);
        }
}

// Sizes that Winograd's algorithm takes: tiles cut off at either edge, several blocks of K, several panels, every storage, more tiles than
// are at work at a time.
TEST_P(Conv2d, Winograd_EqualsTheTwin) {
    std::vector<Case> cases = {{1, 33, 34, 16, 40}, {2, 24, 25, 32, 70}, {1, 32, 29, 400, 32}};
    cases.push_back({1, 16, 17, 32, 40, 3, 3, {1, 1, 1, 1, 1, 32, 34, 0}});
    cases.push_back({1, 96, 110, 16, 32});
    for (const int32_t storage : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16}) {
        cases.push_back({1, 16, 17, 16, 33, 3, 3, {1, 1, 1, 1, 1, 31, 33, 0}});
        cases.back().storage = storage;
        cases.back().bias = storage != SDN_FLOAT32;
        cases.back().channel_add = cases.back().residual = storage == SDN_FLOAT16;
    }
    for (Case c : cases) {
        c.precision = SDN_PRECISION_FAST;
        expect_twin(c, true);
    }
}

TEST_P(Conv2d, AnyThreadCount_SameBits) {
    Case doubled{1, 12, 11, 60, 90, 3, 3, {1, 1, 1, 1, 1, 24, 22, 0}};
    doubled.storage = SDN_FLOAT16;
    Case small{2, 8, 8, 300, 330};
    small.channel_add = small.residual = true;
    Case winograd{1, 33, 34, 48, 70};
    winograd.precision = SDN_PRECISION_FAST;
    Case narrow{2, 9, 7, 120, 70};
    narrow.storage = SDN_FLOAT16, narrow.precision = SDN_PRECISION_FAST;
    Case narrow_doubled = doubled;
    narrow_doubled.precision = SDN_PRECISION_FAST;
    for (const Case& c : {doubled, small, winograd, narrow, narrow_doubled, Case{1, 40, 40, 50, 3}}) {
        const Layer layer(c);
        same_for_any_threads([&](sdn_device* device, sdn_exec*) { return layer.run(device, *layer.weight(device)); }, 1 << 24, c.precision);
    }
}

}  // namespace sdn::test
