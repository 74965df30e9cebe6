// sdn_group_norm on a CUDA device: every kernel in every dtype against a scalar twin in float64.
#include "tests/narrow.h"

namespace sdn::test {

namespace {

struct Case {
    int64_t batch, rows, channels, channels2, groups;
    float offset = 0.5f;   // of the data, whose deviation is about 1
    int64_t misalign = 0;  // bytes
    bool silu = false;

    int64_t all_channels() const { return channels + channels2; }
    std::string text() const {
        return text_of({batch, rows, channels}) + " + " + std::to_string(channels2) + " channels, " + std::to_string(groups) +
               " groups, offset " + std::to_string(offset) + (silu ? ", silu, " : ", ") + std::to_string(misalign) + " bytes off";
    }
};

constexpr double kEps = 1e-5;
constexpr float kSpread = 1.7f;  // uniform in +-1.7: deviation 0.98

struct Layer {
    Case c;
    Array x, x2, scale, shift;

    Layer(const Case& c_, int32_t dtype)
        : c(c_),
          x(in_dtype(Array::random({c.batch, c.rows, c.channels}, 1, c.offset - kSpread, c.offset + kSpread), dtype, c.misalign)),
          x2(in_dtype(Array::random({c.batch, c.rows, std::max<int64_t>(c.channels2, 1)}, 2, c.offset - kSpread, c.offset + kSpread), dtype,
                      c.misalign)),
          scale(Array::random({c.all_channels()}, 3)),
          shift(Array::random({c.all_channels()}, 4)) {}

    Array run(sdn_device* device, std::string* kernels = nullptr) const {
        Array out({c.batch, c.rows, c.all_channels()}, x.view().dtype, c.misalign);
        const Weight weight(device, SDN_WEIGHT_NORM, {&scale}, {&shift});
        measure_and_run(device, [&](sdn_exec* exec) {
            ok(sdn_group_norm(exec, out(), x(), c.channels2 > 0 ? x2() : nullptr, weight, static_cast<int32_t>(c.groups),
                              static_cast<float>(kEps), c.silu ? SDN_ACTIVATION_SILU : SDN_ACTIVATION_NONE));
            if (kernels != nullptr) *kernels = last_kernels(exec);
        });
        return out;
    }

    // The statistics err by norm_limit of the normalised values, as in float32; 16 bits are only where the data rest.
    std::vector<Expected> expected() const {
        const Array left = in_float32(x), right = in_float32(x2);
        const int64_t channels = c.all_channels(), size = channels / c.groups;
        std::vector<Expected> result(static_cast<size_t>(c.batch * c.rows * channels));
        const auto value = [&](int64_t b, int64_t r, int64_t i) {
            return static_cast<double>(i < c.channels ? left[(b * c.rows + r) * c.channels + i]
                                                      : right[(b * c.rows + r) * c.channels2 + i - c.channels]);
        };
        for (int64_t b = 0; b < c.batch; ++b)
            for (int64_t g = 0; g < c.groups; ++g) {
                double sum = 0, squares = 0;
                const auto each = [&](auto&& body) {
                    for (int64_t r = 0; r < c.rows; ++r)
                        for (int64_t i = g * size; i < (g + 1) * size; ++i) body(r, i);
                };
                const double count = static_cast<double>(c.rows * size);
                each([&](int64_t r, int64_t i) { sum += value(b, r, i); });
                const double mean = sum / count;
                each([&](int64_t r, int64_t i) { squares += (value(b, r, i) - mean) * (value(b, r, i) - mean); });
                const double deviation = std::sqrt(squares / count + kEps);
                each([&](int64_t r, int64_t i) {
                    const double normal = (value(b, r, i) - mean) / deviation, factor = static_cast<double>(scale[i]);
                    const double y = normal * factor + static_cast<double>(shift[i]);
                    // No activation is steeper than 1.1.
                    const double error = 1.1 * norm_limit(std::fabs(mean) / deviation) *
                                         (std::fabs(factor) * std::max(1.0, std::fabs(normal)) + std::fabs(static_cast<double>(shift[i])));
                    const double activated = c.silu ? y / (1 + std::exp(-y)) : y;
                    result[static_cast<size_t>((b * c.rows + r) * channels + i)] = {activated,
                                                                                    stored_limit(activated, error, x.view().dtype)};
                });
            }
        return result;
    }
};

}  // namespace

class CudaGroupNorm : public EachDevice {
  protected:
    void expect_twin(Case c, std::initializer_list<int32_t> dtypes, const std::string& kernels) {
        const Device device(GetParam());
        for (const int32_t dtype : dtypes)
            for (const bool silu : {false, true}) {
                c.silu = silu;
                const Layer layer(c, dtype);
                std::string ran;
                EXPECT_TRUE(within_limits(in_float32(layer.run(device, &ran)), layer.expected()))
                    << c.text() << ", " << dtype_name(dtype) << " by " << ran;
                if (GetParam() == std::string("cuda:emulated")) {
                    EXPECT_EQ(ran, kernels) << c.text() << ", " << dtype_name(dtype);
                }
            }
    }
    static constexpr std::initializer_list<int32_t> kAll = {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16};
    static constexpr std::initializer_list<int32_t> kNarrow = {SDN_FLOAT16, SDN_BFLOAT16};
    static constexpr const char* kSlice = "sm80_group_norm_slice";
    static constexpr const char* kChunks = "sm80_group_norm_measure + sm80_group_norm_apply";
    static constexpr const char* kReads = "sm80_group_norm_three_reads";
};
SDN_FOR_EACH_CUDA_DEVICE(CudaGroupNorm);

TEST_P(CudaGroupNorm, SmallGroups_EqualTheTwin) {
    for (const Case& c : {Case{1, 1, 1, 0, 1}, Case{2, 3, 7, 0, 7}, Case{1, 64, 320, 0, 32}, Case{2, 49, 640, 320, 32},
                          Case{1, 30, 1280, 640, 32}, Case{2, 17, 16, 0, 2}, Case{1, 5, 20, 40, 12}, Case{1, 33, 8, 24, 4},
                          Case{1, 1031, 8, 0, 4}, Case{2, 9, 33, 0, 3}, Case{1, 9, 32, 0, 4, 0.5f, 4}})
        expect_twin(c, kAll, kSlice);
    expect_twin({1, 9, 32, 0, 4, 0.5f, 2}, kNarrow, kSlice);
}

TEST_P(CudaGroupNorm, LargeGroups_EqualTheTwin) {
    for (const Case& c : {Case{1, 2111, 64, 0, 4}, Case{2, 1500, 48, 0, 2}, Case{1, 1200, 40, 24, 2}, Case{2, 1100, 96, 0, 3}})
        expect_twin(c, kAll, kChunks);
}

TEST_P(CudaGroupNorm, LargeGroupsThatSuitNoVectors_EqualTheTwin) {
    expect_twin({1, 8300, 7, 0, 1}, {SDN_FLOAT32}, kReads);
    expect_twin({1, 17000, 7, 0, 1}, kNarrow, kReads);
    expect_twin({1, 2111, 64, 0, 4, 0.5f, 4}, kNarrow, kSlice);  // staged all the same: it fits
}

// A mean a thousand times the deviation: E[x^2] - E[x]^2 would have nothing left. In 16 bits such data rest on a coarse grid, which the
// twin sees too.
TEST_P(CudaGroupNorm, LargeOffset_KeepsTheVariance) {
    expect_twin({1, 400, 32, 0, 4, 1000}, kAll, kSlice);
    expect_twin({1, 2111, 64, 0, 4, 1000}, kAll, kChunks);
    expect_twin({1, 8300, 7, 0, 1, 1000}, {SDN_FLOAT32}, kReads);
}

TEST_P(CudaGroupNorm, AnyOrderOfBlocks_SameBits) {
    for (const Case& c : {Case{2, 49, 640, 320, 32}, Case{1, 2111, 64, 0, 4}}) {
        const Layer layer(c, SDN_FLOAT16);
        same_for_any_threads([&](sdn_device* device, sdn_exec*) { return layer.run(device); });
    }
}

}  // namespace sdn::test
