#include "core/dtype.h"

#include <bit>
#include <cmath>
#include <limits>

#include "tests/support.h"

namespace sdn::test {

namespace {

// The value of a 16-bit pattern from its definition: sign, exponent of `exponent_bits`, fraction.
double value_of(uint16_t bits, int exponent_bits) {
    const int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1), fraction = bits & ((1 << fraction_bits) - 1);
    const double sign = (bits & 0x8000) != 0 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1)
        return fraction != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
    if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
    return sign * std::ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
}

struct Format {
    const char* name;
    int exponent_bits;
    uint16_t (*from_float)(float);
    uint16_t (*from_double)(double);
    float (*to_float)(uint16_t);
};

const Format kFormats[] = {{"float16", 5, half_from_float, half_from_double, float_from_half},
                           {"bfloat16", 8, bfloat16_from_float, bfloat16_from_double, float_from_bfloat16}};

}  // namespace

TEST(Dtype, AllSixteenBitPatterns_WidenToTheirValueAndNarrowBack) {
    for (const Format& format : kFormats)
        for (uint32_t bits = 0; bits < 0x10000; ++bits) {
            const uint16_t pattern = static_cast<uint16_t>(bits);
            const double value = value_of(pattern, format.exponent_bits);
            const float widened = format.to_float(pattern);
            if (std::isnan(value)) {
                ASSERT_TRUE(std::isnan(widened)) << format.name << " " << bits;
                ASSERT_TRUE(std::isnan(value_of(format.from_float(widened), format.exponent_bits))) << format.name << " " << bits;
                ASSERT_TRUE(std::isnan(value_of(format.from_double(static_cast<double>(widened)), format.exponent_bits)));
                continue;
            }
            ASSERT_EQ(static_cast<double>(widened), value) << format.name << " " << bits;
            ASSERT_EQ(std::signbit(widened), std::signbit(value)) << format.name << " " << bits;
            ASSERT_EQ(format.from_float(widened), pattern) << format.name;
            ASSERT_EQ(format.from_double(value), pattern) << format.name;
        }
}

// Between two neighbours: the nearer one; in the middle: the even one.
TEST(Dtype, ValuesBetweenNeighbours_RoundToNearestEven) {
    for (const Format& format : kFormats) {
        const int exponent_max = (1 << format.exponent_bits) - 1, fraction_bits = 15 - format.exponent_bits;
        const uint32_t infinity = static_cast<uint32_t>(exponent_max) << fraction_bits;
        for (uint32_t bits = 0; bits + 1 < infinity; bits += 3) {
            const uint16_t low = static_cast<uint16_t>(bits), high = static_cast<uint16_t>(bits + 1), even = bits % 2 == 0 ? low : high;
            const double a = value_of(low, format.exponent_bits), b = value_of(high, format.exponent_bits), middle = (a + b) / 2;
            ASSERT_EQ(format.from_double(middle), even) << format.name << " " << bits;
            ASSERT_EQ(format.from_double(std::nextafter(middle, a)), low) << format.name << " " << bits;
            ASSERT_EQ(format.from_double(std::nextafter(middle, b)), high) << format.name << " " << bits;
            ASSERT_EQ(format.from_double(-middle), even | 0x8000) << format.name << " " << bits;
            const float middle32 = static_cast<float>(middle);
            if (static_cast<double>(middle32) != middle) continue;  // smaller than float32's smallest
            ASSERT_EQ(format.from_float(middle32), even) << format.name << " " << bits;
            ASSERT_EQ(format.from_float(std::nextafterf(middle32, static_cast<float>(a))), low) << format.name << " " << bits;
            ASSERT_EQ(format.from_float(std::nextafterf(middle32, static_cast<float>(b))), high) << format.name << " " << bits;
        }
    }
}

TEST(Dtype, ValuesOutOfRange_BecomeInfinityOrZero) {
    EXPECT_EQ(half_from_float(65519.996f), 0x7bff);  // just under the middle between 65504 and 65536
    EXPECT_EQ(half_from_float(65520.0f), 0x7c00);
    EXPECT_EQ(half_from_float(-1e30f), 0xfc00);
    EXPECT_EQ(half_from_double(1e300), 0x7c00);
    EXPECT_EQ(half_from_float(0x1p-25f), 0x0000);  // the middle between 0 and the smallest: even
    EXPECT_EQ(half_from_float(0x1.000002p-25f), 0x0001);
    EXPECT_EQ(half_from_float(-1e-30f), 0x8000);
    EXPECT_EQ(half_from_double(5e-324), 0x0000);
    EXPECT_EQ(bfloat16_from_float(std::numeric_limits<float>::max()), 0x7f80);
    EXPECT_EQ(bfloat16_from_double(-1e300), 0xff80);
    EXPECT_EQ(bfloat16_from_double(5e-324), 0x0000);
}

// 1 + 2^-11 + 2^-40: by way of float32 it would fall to the middle and then to 1.
TEST(Dtype, Float64_RoundsOnce) {
    EXPECT_EQ(half_from_double(1 + 0x1p-11 + 0x1p-40), 0x3c01);
    EXPECT_EQ(bfloat16_from_double(1 + 0x1p-8 + 0x1p-40), 0x3f81);
}

TEST(Dtype, Table_HasNamesAndSizes) {
    const int64_t sizes[] = {4, 2, 2, 8, 4, 8, 1, 1};
    for (int32_t dtype = 0; dtype < 8; ++dtype) EXPECT_EQ(dtype_bytes(dtype), sizes[dtype]);
    EXPECT_EQ(dtype_bytes(8), 0);
    EXPECT_STREQ(dtype_name(SDN_BFLOAT16), "bfloat16");
    EXPECT_STREQ(dtype_name(-1), "unknown dtype");
}

}  // namespace sdn::test
