// linear_combination, blend, clamp, image_to_uint8, is_finite.
#include <algorithm>
#include <cfenv>
#include <cmath>

#include "core/dtype.h"
#include "cpu/baseline.h"
#include "tests/support.h"

namespace sdn::test {

namespace {

const Shape kShapes[] = {{1}, {15}, {17}, {3, 31}, {2, 3, 5, 7}, {16385}, {3, 20011}};

}  // namespace

TEST(LinearCombination, OneToEightInputs_AreSummedInFloat64AndRoundedOnce) {
    for (const Shape& shape : kShapes)
        for (int32_t count = 1; count <= 8; ++count)
            for (const int threads : {1, 3}) {
                const Device device("cpu", threads);
                const Exec exec(device);
                std::vector<Array> inputs;
                std::vector<sdn_tensor> views;
                std::vector<double> coefficients;
                for (int32_t i = 0; i < count; ++i) {
                    inputs.push_back(Array::random(shape, static_cast<uint32_t>(i + 1)));
                    views.push_back(inputs.back().view());
                    coefficients.push_back(1.0 / (i + 3) * (i % 2 == 0 ? 1 : -1));
                }
                const Array out(shape, SDN_FLOAT32, 4);
                ok(sdn_linear_combination(exec, out(), views.data(), coefficients.data(), count));
                for (int64_t i = 0; i < out.size(); ++i) {
                    double sum = 0;
                    for (size_t k = 0; k < inputs.size(); ++k) sum += coefficients[k] * static_cast<double>(inputs[k][i]);
                    ASSERT_EQ(out[i], static_cast<float>(sum)) << text_of(shape) << " of " << count << " inputs, index " << i;
                }
            }
}

TEST(LinearCombination, OutputIsAnInput_GivesTheSame) {
    const Device device("cpu");
    const Exec exec(device);
    const Array a = Array::random({1009}, 1), b = Array::random({1009}, 2), out({1009});
    const double coefficients[] = {0.3, -1.7};
    const sdn_tensor inputs[] = {a.view(), b.view()};
    ok(sdn_linear_combination(exec, out(), inputs, coefficients, 2));
    ok(sdn_linear_combination(exec, b(), inputs, coefficients, 2));
    EXPECT_TRUE(identical(out, b));
}

TEST(LinearCombination, BadArguments_NameThem) {
    const Device device("cpu");
    const Exec exec(device);
    const Array a({4}), b({5}), out({4});
    const sdn_tensor inputs[] = {a.view(), b.view()};
    const double coefficients[] = {1, 1}, infinite[] = {INFINITY};
    expect_error(sdn_linear_combination(exec, out(), inputs, coefficients, 2), SDN_ERROR_SHAPE,
                 {"sdn_linear_combination", "inputs[1]", "[5]", "[4]"});
    expect_error(sdn_linear_combination(exec, out(), inputs, coefficients, 9), SDN_ERROR_INVALID_ARGUMENT, {"count is 9"});
    expect_error(sdn_linear_combination(exec, out(), inputs, infinite, 1), SDN_ERROR_INVALID_ARGUMENT, {"coefficients[0] is inf"});
    expect_error(sdn_linear_combination(exec, out(), nullptr, coefficients, 1), SDN_ERROR_INVALID_ARGUMENT, {"inputs is NULL"});
}

class Blend : public EachDevice {};
SDN_FOR_EACH_DEVICE(Blend);

// (1 - mask) * a + mask * b in float64, rounded once; the mask with all, one or no batch and channel dimension.
TEST_P(Blend, EveryShapeOfMask_EqualsTheTwin) {
    for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{2, 3, 5, 4}, Shape{3, 17, 31, 1}, Shape{1, 64, 65, 4}, Shape{2, 9, 9, 9}})
        for (const int64_t samples : {int64_t{1}, shape[0]})
            for (const int64_t channels : {int64_t{1}, shape[3]})
                for (const int64_t misalign : {0, 4}) {
                    const Array a = Array::random(shape, 1, -3, 3, misalign), b = Array::random(shape, 2, -3, 3, misalign);
                    const Array mask = Array::random({samples, shape[1], shape[2], channels}, 3, -0.1f, 1.1f, misalign);
                    for (int64_t i = 0; i < mask.size(); i += 3) mask[i] = i % 2 == 0 ? 1.0f : 0.0f;
                    const Array out = same_for_any_threads([&](sdn_device*, sdn_exec* exec) {
                        Array result(shape, SDN_FLOAT32, misalign);
                        ok(sdn_blend(exec, result(), a(), b(), mask()));
                        return result;
                    });
                    const int64_t sample = out.size() / shape[0];
                    for (int64_t i = 0; i < out.size(); ++i) {
                        const int64_t element = samples == 1 ? i % sample : i;
                        const double m = static_cast<double>(mask[channels == 1 ? element / shape[3] : element]);
                        const double expected = (1 - m) * static_cast<double>(a[i]) + m * static_cast<double>(b[i]);
                        ASSERT_EQ(out[i], static_cast<float>(expected))
                            << text_of(shape) << " mask " << text_of(mask.shape()) << " at " << i;
                        if (m == 0 || m == 1) {
                            ASSERT_EQ(out[i], m == 0 ? a[i] : b[i]);  // as it was
                        }
                    }
                }
}

TEST_P(Blend, OutputIsAnInput_GivesTheSame) {
    const Device device(GetParam());
    const Exec exec(device);
    const Array a = Array::random({2, 5, 7, 4}, 1), b = Array::random({2, 5, 7, 4}, 2), out({2, 5, 7, 4}), other({2, 5, 7, 4});
    const Array mask = Array::random({2, 5, 7, 1}, 3, 0, 1);
    ok(sdn_blend(exec, out(), a(), b(), mask()));
    std::copy_n(b.floats(), b.size(), other.floats());
    ok(sdn_blend(exec, other(), a(), other(), mask()));
    ok(sdn_blend(exec, a(), a(), b(), mask()));
    ok(sdn_exec_synchronize(exec));
    EXPECT_TRUE(identical(out, a));
    EXPECT_TRUE(identical(out, other));
}

TEST(BlendErrors, BadArguments_NameThem) {
    const Device device("cpu");
    const Exec exec(device);
    const Array a({2, 3, 5, 4}), b({2, 3, 5, 4}), out({2, 3, 5, 4}), mask({2, 3, 5, 1}), half({2, 3, 5, 4}, SDN_FLOAT16);
    const Array flat({2, 3, 20}), wrong({2, 3, 5, 2}), three({3, 3, 5, 1}), turned({2, 5, 3, 1});
    expect_error(sdn_blend(exec, flat(), flat(), flat(), mask()), SDN_ERROR_SHAPE, {"sdn_blend", "out is [2,3,20]", "rank 4"});
    expect_error(sdn_blend(exec, out(), a(), wrong(), mask()), SDN_ERROR_SHAPE, {"out is [2,3,5,4]", "b is [2,3,5,2]"});
    for (const Array* bad : {&wrong, &three, &turned, &flat})
        expect_error(sdn_blend(exec, out(), a(), b(), (*bad)()), SDN_ERROR_SHAPE, {"mask is", "1 sample or 1 channel"});
    expect_error(sdn_blend(exec, out(), a(), half(), mask()), SDN_ERROR_SHAPE, {"b is float16, must be float32"});
    expect_error(sdn_blend(exec, out(), a(), b(), out()), SDN_ERROR_INVALID_ARGUMENT, {"mask", "overlap"});
    expect_error(sdn_blend(exec, out(), a(), nullptr, mask()), SDN_ERROR_INVALID_ARGUMENT, {"b is NULL"});
}

TEST(Clamp, Values_StayWithinBoundsAndNanStays) {
    const Device device("cpu", 3);
    const Exec exec(device);
    for (const Shape& shape : kShapes) {
        const Array x = Array::random(shape, 1, -3, 3, 4), out(shape);
        ok(sdn_clamp(exec, out(), x(), -1, 0.5f));
        for (int64_t i = 0; i < x.size(); ++i) ASSERT_EQ(out[i], std::fmin(std::fmax(x[i], -1.0f), 0.5f));
    }
    const Array x = Array::of({4}, {NAN, INFINITY, -INFINITY, -0.0f});
    ok(sdn_clamp(exec, x(), x(), -1, 1));
    EXPECT_TRUE(std::isnan(x[0]));
    EXPECT_EQ(x[1], 1);
    EXPECT_EQ(x[2], -1);
    EXPECT_TRUE(std::signbit(x[3]));
    expect_error(sdn_clamp(exec, x(), x(), 1, -1), SDN_ERROR_INVALID_ARGUMENT, {"sdn_clamp", "low is 1", "high is -1"});
    expect_error(sdn_clamp(exec, x(), x(), NAN, 1), SDN_ERROR_INVALID_ARGUMENT, {"low is nan"});
}

// Every value that 255 * (x/2 + 1/2) rounds at: k + 1/2 and its neighbours.
TEST(ImageToUint8, HalfwayValues_RoundToEven) {
    const Device device("cpu", 2);
    const Exec exec(device);
    std::vector<float> values{-1, 1, -2, 2, -INFINITY, INFINITY, NAN, 0, -0.0f, 1e30f};
    for (int k = 0; k < 255; ++k) {
        const float middle = ((static_cast<float>(k) + 0.5f) / 255.0f - 0.5f) * 2.0f;
        for (const float x : {middle, std::nextafterf(middle, 2.0f), std::nextafterf(middle, -2.0f)}) values.push_back(x);
    }
    const Array x = Array::of({static_cast<int64_t>(values.size())}, values), out({x.size()}, SDN_UINT8);
    ok(sdn_image_to_uint8(exec, out(), x()));
    for (int64_t i = 0; i < x.size(); ++i) {
        const float unit = std::fmin(std::fmax(x[i] * 0.5f + 0.5f, 0.0f), 1.0f);
        ASSERT_EQ(out.as<uint8_t>()[i], static_cast<uint8_t>(std::nearbyintf(std::isnan(x[i]) ? 0.0f : unit * 255.0f))) << x[i];
    }
    expect_error(sdn_image_to_uint8(exec, x(), x()), SDN_ERROR_SHAPE, {"out is float32, must be uint8"});
}

TEST(IsFinite, OneBadElementAnywhere_IsFound) {
    const Device device("cpu", 3);
    const Exec exec(device);
    for (const int32_t dtype : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16, SDN_FLOAT64})
        for (const int64_t size : {1, 17, 50021}) {
            const Array source = Array::random({size}, 1, -60000, 60000), x({size}, dtype);
            cpu::convert(x.data(), dtype, source.data(), SDN_FLOAT32, size);
            int32_t finite = -1;
            ok(sdn_is_finite(exec, x(), &finite));
            EXPECT_EQ(finite, 1) << dtype_name(dtype);
            for (const float bad : {NAN, INFINITY, -INFINITY})
                for (const int64_t at : {int64_t{0}, size / 2, size - 1}) {
                    const int64_t bytes = dtype_bytes(dtype);
                    std::vector<char> kept(x.as<char>() + at * bytes, x.as<char>() + (at + 1) * bytes);
                    cpu::convert(x.as<char>() + at * bytes, dtype, &bad, SDN_FLOAT32, 1);
                    ok(sdn_is_finite(exec, x(), &finite));
                    EXPECT_EQ(finite, 0) << dtype_name(dtype) << " " << bad << " at " << at << " of " << size;
                    std::copy(kept.begin(), kept.end(), x.as<char>() + at * bytes);
                }
        }
    int32_t finite = -1;
    const Array integers({3}, SDN_INT32);
    ok(sdn_is_finite(exec, integers(), &finite));
    EXPECT_EQ(finite, 1);
    expect_error(sdn_is_finite(exec, integers(), nullptr), SDN_ERROR_INVALID_ARGUMENT, {"finite is NULL"});
}

}  // namespace sdn::test
