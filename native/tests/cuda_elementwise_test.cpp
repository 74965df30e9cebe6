// What the elementwise, guidance and row ops take on CUDA devices only: activations in 16 bits, mixed dtypes, ids out of range.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "core/dtype.h"
#include "tests/narrow.h"
#include "tests/support.h"

namespace sdn::test {

namespace {

constexpr int32_t kActivations[] = {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16};

class CudaElementwise : public DeviceWithExec {
  protected:
    // Rounded to the dtype, by the CPU.
    static Array rounded(const Array& x, int32_t dtype) {
        const Device cpu("cpu");
        const Exec exec(cpu);
        Array out(x.shape(), dtype);
        ok(sdn_copy(exec, out(), x()));
        return out;
    }
    static std::vector<double> values(const Array& x) {
        const Array wide = rounded(x, SDN_FLOAT64);
        return {wide.as<double>(), wide.as<double>() + wide.size()};
    }
};

Array ids_of(const Shape& shape, const std::vector<int32_t>& values) {
    Array ids(shape, SDN_INT32);
    std::copy(values.begin(), values.end(), ids.as<int32_t>());
    return ids;
}

}  // namespace

// Summed in float64 and rounded once: the very bits.
TEST_P(CudaElementwise, LinearCombinationOfMixedDtypes_IsRoundedOnce) {
    const Shape shape{3, 331};
    const Array a = rounded(Array::random(shape, 1), SDN_FLOAT16), b = Array::random(shape, 2),
                c = rounded(Array::random(shape, 3), SDN_BFLOAT16);
    const sdn_tensor inputs[] = {a.view(), b.view(), c.view()};
    const double coefficients[] = {0.3, -1.7, 2.25};
    const std::vector<double> x[] = {values(a), values(b), values(c)};
    for (const int32_t dtype : kActivations) {
        const Array out(shape, dtype);
        ok(sdn_linear_combination(exec_, out(), inputs, coefficients, 3));
        Array sums(shape, SDN_FLOAT64);
        for (size_t i = 0; i < x[0].size(); ++i)
            sums.as<double>()[i] = coefficients[0] * x[0][i] + coefficients[1] * x[1][i] + coefficients[2] * x[2][i];
        EXPECT_TRUE(identical(out, rounded(sums, dtype))) << dtype_name(dtype);
    }
}

// In float64 and rounded once, whatever the dtypes: the very bits.
TEST_P(CudaElementwise, BlendOfMixedDtypes_IsRoundedOnce) {
    const Shape shape{2, 5, 7, 4};
    const Array a = rounded(Array::random(shape, 1), SDN_BFLOAT16), b = rounded(Array::random(shape, 2), SDN_FLOAT16);
    for (const int32_t mask_dtype : kActivations) {
        const Array mask = rounded(Array::random({1, 5, 7, 1}, 3, 0, 1), mask_dtype);
        const std::vector<double> x = values(a), y = values(b), m = values(mask);
        Array sums(shape, SDN_FLOAT64);
        for (size_t i = 0; i < x.size(); ++i) {
            const double share = m[i / 4 % 35];
            sums.as<double>()[i] = (1 - share) * x[i] + share * y[i];
        }
        for (const int32_t dtype : kActivations) {
            const Array out(shape, dtype);
            ok(sdn_blend(exec_, out(), a(), b(), mask()));
            EXPECT_TRUE(identical(out, rounded(sums, dtype))) << dtype_name(mask_dtype) << " to " << dtype_name(dtype);
        }
    }
}

TEST_P(CudaElementwise, ImageToUint8OfEveryDtype_RoundsHalfToEven) {
    Array x({1031});
    for (int64_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i - 515) / 256.0f;
    x[0] = NAN;
    x[1] = INFINITY;
    x[2] = 2.0f * (0.5f / 255.0f) - 1.0f;
    for (const int32_t dtype : kActivations) {
        const Array in = rounded(x, dtype), out(x.shape(), SDN_UINT8);
        ok(sdn_image_to_uint8(exec_, out(), in()));
        const std::vector<double> value = values(in);
        for (int64_t i = 0; i < x.size(); ++i) {
            const double v = value[static_cast<size_t>(i)], clamped = std::isnan(v) ? 0 : std::clamp(v / 2 + 0.5, 0.0, 1.0);
            const float product = static_cast<float>(clamped) * 255.0f;
            ASSERT_EQ(out.as<uint8_t>()[i], static_cast<uint8_t>(std::nearbyint(product))) << dtype_name(dtype) << " " << v;
        }
    }
}

TEST_P(CudaElementwise, IsFiniteOfEveryDtype_SeesOneBadElementAnywhere) {
    for (const int32_t dtype : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16, SDN_FLOAT64})
        for (const int64_t size : {1, 255, 256, 10007})
            for (const float bad : {NAN, INFINITY, -INFINITY})
                for (const int64_t at : {int64_t{0}, size / 2, size - 1}) {
                    const Array x = Array::random({size}, 1, -60000, 60000);
                    int32_t finite = 2;
                    const Array good = rounded(x, dtype);
                    ok(sdn_is_finite(exec_, good(), &finite));
                    ASSERT_EQ(finite, 1) << dtype_name(dtype);
                    x[at] = bad;
                    const Array spoiled = rounded(x, dtype);
                    ok(sdn_is_finite(exec_, spoiled(), &finite));
                    ASSERT_EQ(finite, 0) << dtype_name(dtype) << " " << bad << " at " << at << " of " << size;
                }
}

// With float64 statistics the 16-bit cond costs nothing: as for float32, a handful of roundings of the result.
TEST_P(CudaElementwise, RescaleGuidanceWithCondIn16Bits_EqualsTheTwin) {
    const Shape shape{2, 9, 7, 4};
    const Array guided = Array::random(shape, 1, -3, 3);
    const int64_t count = guided.size() / 2;
    const auto deviation = [&](const std::vector<double>& x, int64_t first) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < count; ++i) sum += x[static_cast<size_t>(first + i)];
        for (int64_t i = 0; i < count; ++i) squares += std::pow(x[static_cast<size_t>(first + i)] - sum / static_cast<double>(count), 2);
        return std::sqrt(squares / static_cast<double>(count - 1));
    };
    for (const int32_t dtype : kActivations) {
        const Array cond = rounded(Array::random(shape, 2, -2, 2), dtype), out(shape);
        ok(sdn_rescale_guidance(exec_, out(), guided(), cond(), 0.7f));
        const std::vector<double> g = values(guided), c = values(cond);
        std::vector<double> expected;
        for (int64_t i = 0; i < guided.size(); ++i) {
            const int64_t first = i / count * count;
            const double ratio = deviation(c, first) / deviation(g, first), factor = static_cast<double>(0.7f);
            expected.push_back(factor * g[static_cast<size_t>(i)] * ratio + (1 - factor) * g[static_cast<size_t>(i)]);
        }
        EXPECT_TRUE(each_close_to(out, expected, kFewRoundings)) << dtype_name(dtype);
    }
}

TEST_P(CudaElementwise, DynamicThresholdWithNaNAndTies_IsThatOfTheCpu) {
    const Device cpu("cpu");
    const Exec reference(cpu);
    const auto compare = [&](const Array& x, float ratio) {
        const Array got(x.shape()), expected(x.shape());
        ok(sdn_dynamic_threshold(exec_, got(), x(), ratio, 50));
        ok(sdn_dynamic_threshold(reference, expected(), x(), ratio, 50));
        for (int64_t i = 0; i < x.size(); ++i)
            ASSERT_TRUE(got[i] == expected[i] || (std::isnan(got[i]) && std::isnan(expected[i]))) << ratio << " " << i << ": " << got[i];
    };
    for (const float ratio : {0.0f, 0.31f, 0.5f, 0.995f, 1.0f}) {
        Array x = Array::random({2, 1501}, 5, -9, 9);
        compare(x, ratio);
        for (int64_t i = 0; i < x.size(); ++i) x[i] = std::round(x[i]);  // many equal magnitudes
        compare(x, ratio);
        x[1502] = NAN;  // the second sample only
        compare(x, ratio);
        x[1502] = -INFINITY;
        compare(x, ratio == 1.0f ? 0.9f : ratio);
        compare(Array::of({3, 1}, {0.5f, -7, 3}), ratio);
    }
}

TEST_P(CudaElementwise, RowOpsIn16Bits_RoundTheFloat32Result) {
    const Array table = Array::random({9, 20}, 1), position = Array::random({5, 20}, 2), t = Array::of({3}, {0, 999, 421.5f});
    const Array ids = ids_of({2, 5}, {0, 8, 3, 3, 1, 5, 2, 0, 6, 4});
    const Weight token(device_, SDN_WEIGHT_EMBEDDING, {&table}, {}), positions(device_, SDN_WEIGHT_EMBEDDING, {&position}, {});
    const sdn_timestep_params params{1, 0, 10000, 0};
    const Array embedded({2, 5, 20}), sinusoids({3, 33});
    ok(sdn_embedding(exec_, embedded(), ids(), token, positions));
    ok(sdn_timestep_embedding(exec_, sinusoids(), t(), &params));
    for (const int32_t dtype : {SDN_FLOAT16, SDN_BFLOAT16}) {
        const Array out({2, 5, 20}, dtype), waves({3, 33}, dtype);
        ok(sdn_embedding(exec_, out(), ids(), token, positions));
        EXPECT_TRUE(identical(out, rounded(embedded, dtype)));
        ok(sdn_timestep_embedding(exec_, waves(), t(), &params));
        EXPECT_TRUE(identical(waves, rounded(sinusoids, dtype)));
    }
}

// The host cannot look at ids without waiting for the device, so a bad one gives a row that every check of the result finds.
TEST_P(CudaElementwise, IndicesOutOfRange_GiveRowsOfNaN) {
    const Array table = Array::random({7, 12}, 1);
    const Weight token(device_, SDN_WEIGHT_EMBEDDING, {&table}, {});
    const Array ids = ids_of({4}, {6, 7, -1, 0}), out({4, 12});
    ok(sdn_embedding(exec_, out(), ids(), token, nullptr));
    for (const int32_t dtype : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16})
        for (const int64_t columns : {12, 64}) {
            const Array x = rounded(Array::random({7, columns}, 1), dtype), gathered({4, columns}, dtype);
            ok(sdn_gather_rows(exec_, gathered(), x(), ids()));
            const std::vector<double> got = values(gathered), from = values(x);
            for (int64_t i = 0; i < 4 * columns; ++i) {
                const int64_t row = i / columns;
                if (row == 1 || row == 2)
                    ASSERT_TRUE(std::isnan(got[static_cast<size_t>(i)])) << dtype_name(dtype) << " row " << row;
                else
                    ASSERT_EQ(got[static_cast<size_t>(i)], from[static_cast<size_t>(ids.as<int32_t>()[row] * columns + i % columns)]);
            }
        }
    const Array counts({7, 3}, SDN_INT32), picked({4, 3}, SDN_INT32);
    for (int32_t i = 0; i < 21; ++i) counts.as<int32_t>()[i] = i + 1;
    ok(sdn_gather_rows(exec_, picked(), counts(), ids()));
    for (int64_t i = 3; i < 9; ++i) EXPECT_EQ(picked.as<int32_t>()[i], 0);  // there is no NaN for integers
    EXPECT_EQ(picked.as<int32_t>()[0], 19);
    for (int64_t c = 0; c < 12; ++c) {
        EXPECT_EQ(out[c], table[6 * 12 + c]);
        EXPECT_TRUE(std::isnan(out[12 + c]) && std::isnan(out[24 + c]));
        EXPECT_EQ(out[36 + c], table[c]);
    }
}

SDN_FOR_EACH_CUDA_DEVICE(CudaElementwise);

}  // namespace sdn::test
