#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/dtype.h"
#include "cpu/baseline.h"
#include "tests/support.h"

namespace sdn::test {

namespace {

// A tensor view into an array, by shape, strides and first element.
sdn_tensor view(const Array& array, const Shape& shape, const Shape& stride, int64_t first = 0) {
    sdn_tensor t = dense_view(array.as<char>() + first * dtype_bytes(array.view().dtype), shape, array.view().dtype);
    std::copy(stride.begin(), stride.end(), t.stride);
    return t;
}

Shape dense_strides(const Shape& shape) {
    Shape stride(shape.size());
    int64_t step = 1;
    for (size_t i = shape.size(); i-- > 0; step *= shape[i]) stride[i] = step;
    return stride;
}

int64_t offset_of(int64_t index, const Shape& shape, const Shape& stride) {
    int64_t offset = 0;
    for (size_t i = shape.size(); i-- > 0; index /= shape[i]) offset += index % shape[i] * stride[i];
    return offset;
}

struct Layout {
    Shape shape, out_stride, x_stride;
};

// Copies float32 by these strides and looks at every element, and at those between, which must not change.
void check(const Layout& layout, int threads) {
    const int64_t count = count_of(layout.shape);
    const int64_t out_span = 1 + offset_of(count - 1, layout.shape, layout.out_stride);
    const int64_t x_span = 1 + offset_of(count - 1, layout.shape, layout.x_stride);
    const Device device("cpu", threads);
    const Exec exec(device);
    const Array x = Array::random({x_span}, 1), out({out_span});
    std::vector<float> expected(static_cast<size_t>(out_span), 99.0f);
    std::fill(out.floats(), out.floats() + out_span, 99.0f);
    for (int64_t i = 0; i < count; ++i)
        expected[static_cast<size_t>(offset_of(i, layout.shape, layout.out_stride))] = x[offset_of(i, layout.shape, layout.x_stride)];
    const sdn_tensor to = view(out, layout.shape, layout.out_stride), from = view(x, layout.shape, layout.x_stride);
    ok(sdn_copy(exec, &to, &from));
    EXPECT_EQ(std::memcmp(out.floats(), expected.data(), expected.size() * 4), 0)
        << "shape " << text_of(layout.shape) << " out strides " << text_of(layout.out_stride) << " x strides " << text_of(layout.x_stride);
}

}  // namespace

TEST(Copy, EveryPermutation_MovesEveryElement) {
    for (const Shape& sizes : {Shape{2, 3, 5, 7}, Shape{1, 33, 35, 4}, Shape{2, 64, 3, 32}, Shape{1, 1, 1, 1}, Shape{3, 1, 70, 2}}) {
        Shape order{0, 1, 2, 3};
        do {
            Shape permuted, stride(4);
            for (const int64_t axis : order) permuted.push_back(sizes[static_cast<size_t>(axis)]);
            const Shape dense = dense_strides(permuted);
            for (size_t i = 0; i < 4; ++i) stride[static_cast<size_t>(order[i])] = dense[i];
            check({sizes, dense_strides(sizes), stride}, 3);
            check({sizes, stride, dense_strides(sizes)}, 1);
        } while (std::next_permutation(order.begin(), order.end()));
    }
}

TEST(Copy, SlicesRepeatsAndLongRows_MoveEveryElement) {
    const Layout layouts[] = {
        {{100003}, {1}, {1}},      // one long row
        {{7}, {3}, {2}},           // steps on both sides
        {{40000}, {2}, {1}},       //
        {{4, 5}, {9, 1}, {5, 1}},  // into the columns of a wider buffer
        {{4, 5}, {5, 1}, {9, 1}},  // out of them
        {{4, 5}, {5, 1}, {0, 1}},  // one row repeated
        {{4, 5}, {5, 1}, {1, 0}},  // one column repeated
        {{4, 5}, {5, 1}, {0, 0}},  // one value everywhere
        {{3, 4, 5, 6}, {120, 30, 6, 1}, {0, 6, 0, 1}},
        {{2, 257, 3}, {771, 3, 1}, {771, 1, 257}},  // CHW to HWC
        {{5000, 3}, {4, 1}, {1, 5000}},
        {{1, 6, 1, 2}, {99, 2, 77, 1}, {5, 2, 3, 1}},  // strides of single dimensions mean nothing
    };
    for (const Layout& layout : layouts)
        for (const int threads : {1, 3}) check(layout, threads);
}

TEST(Copy, SlicesOfOneBuffer_MayInterleave) {
    const Device device("cpu");
    const Exec exec(device);
    const Array buffer = Array::random({6, 10}, 1);
    const std::vector<float> before(buffer.floats(), buffer.floats() + 60);
    const sdn_tensor left = view(buffer, {6, 4}, {10, 1}), right = view(buffer, {6, 4}, {10, 1}, 5),
                     near = view(buffer, {6, 4}, {10, 1}, 3);
    ok(sdn_copy(exec, &right, &left));
    for (int64_t r = 0; r < 6; ++r)
        for (int64_t c = 0; c < 10; ++c)
            ASSERT_EQ(buffer[r * 10 + c], before[static_cast<size_t>(c >= 5 && c < 9 ? r * 10 + c - 5 : r * 10 + c)]);
    expect_error(sdn_copy(exec, &near, &left), SDN_ERROR_INVALID_ARGUMENT, {"sdn_copy", "overlap"});
    const sdn_tensor second_rows = view(buffer, {3, 10}, {20, 1}, 10), first_rows = view(buffer, {3, 10}, {20, 1});
    ok(sdn_copy(exec, &second_rows, &first_rows));
}

TEST(Copy, EveryPairOfDtypes_ConvertsByItsRule) {
    const double values[] = {
        0,        -0.0,      1,   -1,   0.5,          1.5,          2.5,           -2.5, 254.6, 255.4, 256,  -0.7, 3.14159265358979,
        65504,    65520,     1e5, -1e5, 2147483647.0, 2147483648.0, -2147483649.0, 4e9,  1e19,  -1e19, 1e-8, 1e38, 1e300,
        INFINITY, -INFINITY, NAN};
    const int64_t count = static_cast<int64_t>(std::size(values));
    const Device device("cpu");
    const Exec exec(device);
    const int32_t dtypes[] = {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16, SDN_FLOAT64, SDN_INT32, SDN_INT64, SDN_UINT8};
    const auto as_double = [](const Array& array, int64_t i) {
        switch (array.view().dtype) {
            case SDN_FLOAT32:
                return static_cast<double>(array.as<float>()[i]);
            case SDN_FLOAT16:
                return static_cast<double>(float_from_half(array.as<uint16_t>()[i]));
            case SDN_BFLOAT16:
                return static_cast<double>(float_from_bfloat16(array.as<uint16_t>()[i]));
            case SDN_FLOAT64:
                return array.as<double>()[i];
            case SDN_INT32:
                return static_cast<double>(array.as<int32_t>()[i]);
            case SDN_INT64:
                return static_cast<double>(array.as<int64_t>()[i]);
            default:
                return static_cast<double>(array.as<uint8_t>()[i]);
        }
    };
    // What a value becomes in a dtype, by way of float64, which holds all of these exactly.
    const auto converted = [](double value, int32_t dtype) -> double {
        const auto truncated = [value](double low, double high) {
            return std::isnan(value) ? 0 : std::trunc(std::clamp(value, low, high));
        };
        switch (dtype) {
            case SDN_FLOAT32:
                return static_cast<double>(static_cast<float>(value));
            case SDN_FLOAT16:
                return static_cast<double>(float_from_half(half_from_double(value)));
            case SDN_BFLOAT16:
                return static_cast<double>(float_from_bfloat16(bfloat16_from_double(value)));
            case SDN_INT32:
                return truncated(-2147483648.0, 2147483647.0);
            case SDN_INT64:
                return truncated(-0x1p63, 0x1p63);
            case SDN_UINT8:
                return truncated(0, 255);
            default:
                return value;
        }
    };
    Array source({count}, SDN_FLOAT64);
    std::copy(std::begin(values), std::end(values), source.as<double>());
    for (const int32_t from : dtypes) {
        Array x({count}, from);
        ok(sdn_copy(exec, x(), source()));
        for (int64_t i = 0; i < count; ++i) {
            const double expected = converted(values[i], from);
            ASSERT_TRUE(as_double(x, i) == expected || (std::isnan(expected) && std::isnan(as_double(x, i))))
                << values[i] << " to " << dtype_name(from) << " is " << as_double(x, i);
        }
        for (const int32_t to : dtypes) {
            const Array out({count}, to);
            ok(sdn_copy(exec, out(), x()));
            for (int64_t i = 0; i < count; ++i) {
                const double expected = converted(as_double(x, i), to);
                ASSERT_TRUE(as_double(out, i) == expected || (std::isnan(expected) && std::isnan(as_double(out, i))))
                    << dtype_name(from) << " " << as_double(x, i) << " to " << dtype_name(to) << " is " << as_double(out, i);
            }
        }
    }
}

TEST(Copy, ConversionWithTransposition_MovesAndConverts) {
    const Device device("cpu", 3);
    const Exec exec(device);
    const Array x = Array::random({3, 37, 41}, 1), out({37, 41, 3}, SDN_FLOAT16);
    const sdn_tensor from = view(x, {37, 41, 3}, {41, 1, 37 * 41});
    ok(sdn_copy(exec, out(), &from));
    for (int64_t p = 0; p < 37 * 41; ++p)
        for (int64_t c = 0; c < 3; ++c) ASSERT_EQ(out.as<uint16_t>()[p * 3 + c], half_from_float(x[c * 37 * 41 + p]));
}

TEST(Copy, BadArguments_NameThem) {
    const Device device("cpu");
    const Exec exec(device);
    const Array x({2, 3}), out({3, 2}), wide({6});
    expect_error(sdn_copy(exec, out(), x()), SDN_ERROR_SHAPE, {"sdn_copy", "out is [3,2]", "x is [2,3]"});
    const sdn_tensor twice = view(wide, {2, 3}, {1, 1});
    expect_error(sdn_copy(exec, &twice, x()), SDN_ERROR_SHAPE, {"more than once", "[1,1]"});
    const sdn_tensor negative = view(wide, {2, 3}, {3, -1}), huge = view(wide, {2, 3}, {int64_t{1} << 50, 1});
    expect_error(sdn_copy(exec, &negative, x()), SDN_ERROR_SHAPE, {"negative strides", "[3,-1]"});
    expect_error(sdn_copy(exec, &huge, x()), SDN_ERROR_SHAPE, {"more than"});
}

}  // namespace sdn::test
