// sdn_copy on CUDA devices: the paths that its kernels take by size, alignment and layout, bit for bit what the CPU's copy gives.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "core/dtype.h"
#include "tests/narrow.h"
#include "tests/support.h"

namespace sdn::test {

namespace {

constexpr int32_t kDtypes[] = {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16, SDN_FLOAT64, SDN_INT32, SDN_INT64, SDN_UINT8};
constexpr int32_t kActivations[] = {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16};

class CudaCopy : public DeviceWithExec {
  protected:
    // Copies on both devices by these strides, from the given first elements on, and compares all of out, gaps included.
    void check(const Shape& shape, const Shape& out_stride, const Shape& x_stride, int32_t out_dtype, int32_t x_dtype,
               int64_t out_first = 0, int64_t x_first = 0) {
        const auto span = [&](const Shape& stride) {
            int64_t last = 0;
            for (size_t i = 0; i < shape.size(); ++i) last += (shape[i] - 1) * stride[i];
            return last + 1;
        };
        const Array numbers = Array::random({x_first + span(x_stride)}, 3, -300, 300), x(numbers.shape(), x_dtype);
        const Array got({out_first + span(out_stride)}, out_dtype), expected(got.shape(), out_dtype);
        const Device cpu("cpu");
        const Exec reference(cpu);
        ok(sdn_copy(reference, x(), numbers()));
        std::memset(got.data(), 0x5a, static_cast<size_t>(got.bytes()));
        std::memset(expected.data(), 0x5a, static_cast<size_t>(got.bytes()));
        const auto view = [&](const Array& array, const Shape& stride, int64_t first) {
            const int32_t dtype = array.view().dtype;
            sdn_tensor t = dense_view(array.as<char>() + first * dtype_bytes(dtype), shape, dtype);
            std::copy(stride.begin(), stride.end(), t.stride);
            return t;
        };
        const sdn_tensor from = view(x, x_stride, x_first);
        const sdn_tensor to_got = view(got, out_stride, out_first), to_expected = view(expected, out_stride, out_first);
        ok(sdn_copy(reference, &to_expected, &from));
        ok(sdn_copy(exec_, &to_got, &from));
        EXPECT_TRUE(identical(got, expected)) << dtype_name(x_dtype) << " to " << dtype_name(out_dtype) << ", shape " << text_of(shape)
                                              << ", strides " << text_of(x_stride) << " to " << text_of(out_stride);
    }
};

}  // namespace

TEST_P(CudaCopy, EveryPairOfDtypes_DenseStridedAndTransposed) {
    for (const int32_t to : kDtypes)
        for (const int32_t from : kDtypes) {
            check({1003}, {1}, {1}, to, from);
            check({5, 9}, {11, 1}, {13, 1}, to, from);
            check({37, 41}, {41, 1}, {1, 37}, to, from);
        }
}

TEST_P(CudaCopy, SpecialValues_AreThoseOfTheCpu) {
    const double values[] = {
        0,          -0.0,         0.5,           -0.5,   1.5,     2.5,     254.5,         255.5,       -1,
        65504,      65519.999,    65520,         1e-7,   -6e-8,   2.98e-8, 2.980232e-8,   1 + 0x1p-11, 1 + 0x1p-11 + 0x1p-40,
        2147483647, 2147483647.5, -2147483648.0, 1e19,   -1e19,   3.4e38,  3.40282357e38, 1e300,       1e-300,
        1e-45,      0x1p-149,     0x1p-134,      -1e-39, 0x1p-24, 0x1p-25, INFINITY,      -INFINITY,   9007199254740993.0};
    const int64_t count = static_cast<int64_t>(std::size(values));
    const Array source({count}, SDN_FLOAT64);
    std::copy(std::begin(values), std::end(values), source.as<double>());
    const Device cpu("cpu");
    const Exec reference(cpu);
    for (const int32_t from : kDtypes) {
        const Array x({count}, from), again({count}, from);
        ok(sdn_copy(reference, x(), source()));
        ok(sdn_copy(exec_, again(), source()));
        EXPECT_TRUE(identical(again, x)) << "float64 to " << dtype_name(from);
        for (const int32_t to : kDtypes) {
            const Array got({count}, to), expected({count}, to);
            ok(sdn_copy(reference, expected(), x()));
            ok(sdn_copy(exec_, got(), x()));
            EXPECT_TRUE(identical(got, expected)) << dtype_name(from) << " to " << dtype_name(to);
        }
    }
}

TEST_P(CudaCopy, NaN_StaysNaNAndIsZeroAsInteger) {
    const Array x({1}, SDN_FLOAT64);
    *x.as<double>() = NAN;
    for (const int32_t from : {SDN_FLOAT64, SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16})
        for (const int32_t to : kDtypes) {
            const Array source({1}, from), got({1}, to), back({1}, SDN_FLOAT64);
            ok(sdn_copy(exec_, source(), x()));
            ok(sdn_copy(exec_, got(), source()));
            ok(sdn_copy(exec_, back(), got()));
            const double value = *back.as<double>();
            EXPECT_TRUE(is_float_dtype(to) ? std::isnan(value) : value == 0)
                << dtype_name(from) << " to " << dtype_name(to) << ": " << value;
        }
}

// 16-byte moves and packs of 8 where both sides are aligned, single elements where one is not.
TEST_P(CudaCopy, SlicesAtEveryAlignment_MoveEveryElement) {
    for (const int32_t to : kActivations)
        for (const int32_t from : kActivations) {
            for (const int64_t first : {0, 1, 2, 4, 8}) {
                check({3, 64}, {64, 1}, {64, 1}, to, from, first, 0);
                check({3, 64}, {64, 1}, {96, 1}, to, from, 0, first);
            }
            check({2, 5, 16}, {320, 40, 1}, {80, 16, 1}, to, from, 16);  // into the columns of a wider buffer
            check({2, 5, 16}, {320, 44, 1}, {80, 16, 1}, to, from);      // whose rows are not aligned
            check({7, 24}, {24, 1}, {0, 1}, to, from);                   // one row repeated
        }
    check({6, 32}, {32, 1}, {48, 1}, SDN_UINT8, SDN_UINT8, 16, 16);
    check({6, 6}, {6, 1}, {10, 1}, SDN_INT64, SDN_INT64);
}

TEST_P(CudaCopy, ImagesToAndFromChannelsFirst_MoveEveryElement) {
    for (const int64_t channels : {1, 3, 4, 8, 33, 70})
        for (const int64_t pixels : {1, 7, 8, 31, 64, 65}) {
            const int64_t size = channels * pixels;
            for (const int32_t to : {SDN_FLOAT32, SDN_FLOAT16, SDN_INT64}) {
                check({2, pixels, channels}, {size, channels, 1}, {size, 1, pixels}, to, SDN_FLOAT32);
                check({2, channels, pixels}, {size, pixels, 1}, {size, 1, channels}, to, SDN_FLOAT32);
            }
        }
    check({2, 3, 10, 12}, {360, 120, 12, 1}, {1, 240, 2, 20}, SDN_BFLOAT16, SDN_BFLOAT16);  // x contiguous along the first
    check({4, 9, 40, 3}, {1080, 120, 3, 1}, {120, 480, 1, 40}, SDN_FLOAT16, SDN_FLOAT32);
}

SDN_FOR_EACH_CUDA_DEVICE(CudaCopy);

}  // namespace sdn::test
