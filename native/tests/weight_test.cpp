#include <cmath>
#include <cstring>
#include <iterator>

#include "core/dtype.h"
#include "cpu/baseline.h"
#include "tests/support.h"

namespace sdn::test {

namespace {

// Values of every kind: normal, subnormal, huge, zero of both signs, infinite. Rounded to dtype.
Array values(const Shape& shape, int32_t dtype, uint32_t seed) {
    const Array source = Array::random(shape, seed, -2, 2);
    const float special[] = {0.0f, -0.0f, 1e-41f, -3e-6f, 6.1e-5f, 65504.0f, -INFINITY, 1e-30f, 3.0e38f};
    for (int64_t i = 0; i < source.size(); i += 7) source[i] = special[i / 7 % 9];
    Array result(shape, dtype);
    cpu::convert(result.data(), dtype, source.data(), SDN_FLOAT32, source.size());
    return result;
}

struct Case {
    int kind;
    std::vector<Shape> parts;
    bool geglu = false;
};

const std::vector<Case>& matrix_cases() {
    static const std::vector<Case> cases = {
        {SDN_WEIGHT_MATRIX, {{1, 1}}},
        {SDN_WEIGHT_MATRIX, {{33, 17}}},
        {SDN_WEIGHT_MATRIX, {{5, 7}, {1, 7}, {40, 7}}},
        {SDN_WEIGHT_MATRIX, {{31, 6, 1, 1}}},
        {SDN_WEIGHT_MATRIX, {{1, 3}, {1, 3}}, true},
        {SDN_WEIGHT_MATRIX, {{37, 19}, {37, 19}}, true},
        {SDN_WEIGHT_MATRIX, {{64, 32}, {64, 32}}, true},
        {SDN_WEIGHT_CONV2D, {{1, 1, 1, 1}}},
        {SDN_WEIGHT_CONV2D, {{35, 5, 3, 3}}},
        {SDN_WEIGHT_CONV2D, {{2, 17, 1, 4}}},
        {SDN_WEIGHT_CONV2D, {{16, 16, 2, 3}}},
        {SDN_WEIGHT_CONV2D, {{70, 150, 3, 3}}},  // several panels, several pieces of K
        {SDN_WEIGHT_MATRIX, {{45, 300}, {45, 300}}, true},
        {SDN_WEIGHT_MATRIX, {{48, 66}, {16, 66}, {40, 66}}},
        {SDN_WEIGHT_CONV2D, {{48, 20, 3, 3}}},
        {SDN_WEIGHT_EMBEDDING, {{9, 13}}},
    };
    return cases;
}

}  // namespace

class WeightUnpack : public EachDevice {};
SDN_FOR_EACH_DEVICE(WeightUnpack);

TEST_P(WeightUnpack, SameDtype_GivesTheSourceBitForBit) {
    for (const int32_t precision : {SDN_PRECISION_REFERENCE, SDN_PRECISION_FAST}) {
        const Device device(GetParam(), 2, precision);
        for (const int32_t dtype : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16})
            for (const Case& c : matrix_cases()) {
                std::vector<Array> parts, biases;
                std::vector<const Array*> part_list, bias_list;
                int64_t rows = 0, count = 0;
                for (const Shape& shape : c.parts) {
                    parts.push_back(values(shape, dtype, static_cast<uint32_t>(parts.size() + 1)));
                    biases.push_back(values({shape[0]}, dtype, static_cast<uint32_t>(parts.size() + 50)));
                    rows += shape[0];
                    count += count_of(shape);
                }
                for (const Array& part : parts) part_list.push_back(&part);
                const bool has_bias = c.kind != SDN_WEIGHT_EMBEDDING;
                for (const Array& bias : biases)
                    if (has_bias) bias_list.push_back(&bias);
                const Weight weight(device, c.kind, part_list, bias_list, dtype, c.geglu);

                const sdn_weight_info info = weight.info();
                EXPECT_EQ(info.kind, c.kind);
                EXPECT_EQ(info.storage, dtype);
                EXPECT_EQ(info.rows, rows);
                EXPECT_EQ(info.columns, count / rows);
                EXPECT_GE(info.bytes, count * dtype_bytes(dtype));

                const Array unpacked({count}, dtype), bias({rows});
                ok(sdn_weight_unpack(weight, unpacked.data(), bias.floats()));
                int64_t offset = 0, row = 0;
                for (size_t i = 0; i < parts.size(); ++i) {
                    EXPECT_EQ(std::memcmp(unpacked.as<char>() + offset, parts[i].data(), static_cast<size_t>(parts[i].bytes())), 0)
                        << dtype_name(dtype) << " kind " << c.kind << " part " << i << " " << text_of(c.parts[i]);
                    offset += parts[i].bytes();
                    for (int64_t j = 0; j < biases[i].size(); ++j, ++row) {
                        float expected = 0;
                        if (has_bias) cpu::convert(&expected, SDN_FLOAT32, biases[i].as<char>() + j * dtype_bytes(dtype), dtype, 1);
                        ASSERT_EQ(std::memcmp(&bias[row], &expected, 4), 0) << "bias " << row;
                    }
                }
            }
    }
}

// What rounding has to get right: ties to even and their neighbours, carries into the exponent, the ends of the range, subnormals of each
// type, infinities and quiet NaN with payloads.
Array hard_values(const Shape& shape, int32_t dtype, uint32_t seed) {
    static const uint32_t kFloats[] = {0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x3fffffff, 0x7f7fffff, 0x3f801000, 0x3f803000,
                                       0x3f801001, 0x477fefff, 0x477ff000, 0x33000000, 0x33000001, 0x387fffff, 0x00000001, 0x00008000,
                                       0x007fffff, 0x80018000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffd2a001, 0x80000000, 0x0000c000};
    static const uint16_t kHalves[] = {0x0001, 0x03ff, 0x0400, 0x8001, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 0xfe55,
                                       0x3c01, 0x3c08, 0x3c04, 0x3c0c, 0x7f7f, 0x0080, 0x8000, 0x7fc0, 0xffd3};
    static const double kDoubles[] = {
        1 + 0x1p-8 + 0x1p-40, 1 + 0x1p-11 + 0x1p-40, 1 + 0x1p-24, 1e300, -5e-324, 65520.0, 0x1p-25, 0x1p-150, 0x1.8p-149, -INFINITY, NAN};
    Array result = values(shape, dtype, seed);
    const auto put = [&](auto* data, const auto& list) {
        const int64_t count = static_cast<int64_t>(std::size(list));
        for (int64_t i = 0, next = 0; i < result.size(); i += 3) data[i] = list[next++ % count];
    };
    if (dtype == SDN_FLOAT64)
        put(result.as<double>(), kDoubles);
    else if (dtype == SDN_FLOAT32)
        put(result.as<uint32_t>(), kFloats);
    else
        put(result.as<uint16_t>(), kHalves);
    return result;
}

// By way of float64, which holds every value of the other types, one element at a time.
void round_once(void* to, int32_t storage, const void* from, int32_t dtype, int64_t i) {
    double x;
    if (dtype == SDN_FLOAT64)
        x = static_cast<const double*>(from)[i];
    else if (dtype == SDN_FLOAT32)
        x = static_cast<double>(static_cast<const float*>(from)[i]);
    else
        x = static_cast<double>((dtype == SDN_FLOAT16 ? float_from_half : float_from_bfloat16)(static_cast<const uint16_t*>(from)[i]));
    if (storage == SDN_FLOAT32)
        static_cast<float*>(to)[i] = static_cast<float>(x);
    else
        static_cast<uint16_t*>(to)[i] = (storage == SDN_FLOAT16 ? half_from_double : bfloat16_from_double)(x);
}

class WeightPacking : public EachDevice {};
INSTANTIATE_TEST_SUITE_P(On, WeightPacking, ::testing::Values("cpu:portable", "cpu:avx2", "cpu:avx512", "cpu:avx512bf16"),
                         [](const ::testing::TestParamInfo<const char*>& info) { return std::string(info.param).substr(4); });

TEST_P(WeightPacking, EveryPairOfDtypes_RoundsOnceToNearestEven) {
    for (const int32_t precision : {SDN_PRECISION_REFERENCE, SDN_PRECISION_FAST}) {  // fast: bfloat16 in pairs
        const Device device(GetParam(), 2, precision);
        for (const int32_t dtype : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16, SDN_FLOAT64})
            for (const int32_t storage : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16})
                for (const Case& c : matrix_cases()) {
                    if (c.kind == SDN_WEIGHT_EMBEDDING) continue;
                    std::vector<Array> parts;
                    std::vector<const Array*> list;
                    int64_t count = 0;
                    for (const Shape& shape : c.parts) {
                        parts.push_back(hard_values(shape, dtype, static_cast<uint32_t>(parts.size() + 1)));
                        count += count_of(shape);
                    }
                    for (const Array& part : parts) list.push_back(&part);
                    const Weight weight(device, c.kind, list, {}, storage, c.geglu);
                    const Array unpacked({count}, storage);
                    ok(sdn_weight_unpack(weight, unpacked.data(), nullptr));
                    const char* got = unpacked.as<char>();
                    for (const Array& part : parts) {
                        const Array expected(part.shape(), storage);
                        for (int64_t i = 0; i < part.size(); ++i) round_once(expected.data(), storage, part.data(), dtype, i);
                        ASSERT_EQ(std::memcmp(got, expected.data(), static_cast<size_t>(expected.bytes())), 0)
                            << dtype_name(dtype) << " to " << dtype_name(storage) << " kind " << c.kind << " " << text_of(part.shape());
                        got += expected.bytes();
                    }
                }
    }
}

// Every source dtype into every storage: one rounding to nearest even of the source value.
TEST_P(WeightUnpack, OtherDtype_IsRoundedOnce) {
    const Device device(GetParam());
    const Shape shape{37, 11, 3, 3};
    for (const int32_t source : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16, SDN_FLOAT64})
        for (const int32_t storage : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16}) {
            const Array part = values(shape, source, 3);
            if (source == SDN_FLOAT64) part.as<double>()[1] = 1 + 0x1p-11 + 0x1p-40;  // by way of float32 it would become 1
            const Weight weight(device, SDN_WEIGHT_CONV2D, {&part}, {}, storage);
            const Array unpacked(shape, storage), expected(shape, storage);
            ok(sdn_weight_unpack(weight, unpacked.data(), nullptr));
            cpu::convert(expected.data(), storage, part.data(), source, part.size());
            EXPECT_TRUE(identical(unpacked, expected)) << dtype_name(source) << " to " << dtype_name(storage);
        }
}

TEST(Weight, WithoutBias_UnpacksZeros) {
    const Device device("cpu:portable");
    const Array part = Array::random({3, 2}, 1), bias = Array::random({3}, 2);
    const Weight weight(device, SDN_WEIGHT_MATRIX, {&part}, {});
    ok(sdn_weight_unpack(weight, nullptr, bias.floats()));
    for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(bias[i], 0);
}

TEST(Weight, Norm_IsKeptInFloat32) {
    const Device device("cpu:portable");
    const Array scale = values({19}, SDN_FLOAT16, 1), shift = values({19}, SDN_BFLOAT16, 2);
    const Weight weight(device, SDN_WEIGHT_NORM, {&scale}, {&shift}, SDN_FLOAT16);
    const sdn_weight_info info = weight.info();
    EXPECT_EQ(info.storage, SDN_FLOAT32);
    EXPECT_EQ(info.rows, 19);
    EXPECT_EQ(info.columns, 1);
    EXPECT_EQ(info.bytes, 2 * 19 * 4);
    const Array unpacked({19}), bias({19});
    ok(sdn_weight_unpack(weight, unpacked.data(), bias.floats()));
    for (int64_t i = 0; i < 19; ++i) {
        EXPECT_EQ(unpacked[i], float_from_half(scale.as<uint16_t>()[i]));
        EXPECT_EQ(bias[i], float_from_bfloat16(shift.as<uint16_t>()[i]));
    }
}

TEST(Weight, BadDescription_NamesWhatIsWrong) {
    const Device device("cpu:portable");
    const Array matrix({4, 3}), other({5, 3}), narrow({4, 2}), cube({4, 3, 2, 2}), vector({4}), bias({3}), ids({4, 3}, SDN_INT32);
    sdn_weight* weight = nullptr;
    const auto create = [&](int kind, std::vector<const Array*> parts, std::vector<const Array*> biases, int32_t storage = SDN_FLOAT32,
                            int geglu = 0) {
        std::vector<sdn_tensor> p, b;
        for (const Array* a : parts) p.push_back(a->view());
        for (const Array* a : biases) b.push_back(a->view());
        const sdn_weight_desc desc{kind, storage, static_cast<int32_t>(p.size()), geglu, 0, 0, p.data(), b.empty() ? nullptr : b.data()};
        return sdn_weight_create(device, &desc, &weight);
    };
    expect_error(create(9, {&matrix}, {}), SDN_ERROR_INVALID_ARGUMENT, {"sdn_weight_create", "kind 9"});
    expect_error(create(SDN_WEIGHT_MATRIX, {&matrix}, {}, SDN_FLOAT64), SDN_ERROR_INVALID_ARGUMENT, {"storage is float64"});
    expect_error(create(SDN_WEIGHT_MATRIX, {&matrix, &narrow}, {}), SDN_ERROR_SHAPE, {"parts[1]", "[4,2]", "[4,3]"});
    expect_error(create(SDN_WEIGHT_MATRIX, {&cube}, {}), SDN_ERROR_SHAPE, {"parts[0]", "[4,3,2,2]"});
    expect_error(create(SDN_WEIGHT_MATRIX, {&matrix}, {&bias}), SDN_ERROR_SHAPE, {"biases[0]", "[3]", "[4]"});
    expect_error(create(SDN_WEIGHT_MATRIX, {&ids}, {}), SDN_ERROR_SHAPE, {"int32"});
    expect_error(create(SDN_WEIGHT_CONV2D, {&matrix}, {}), SDN_ERROR_SHAPE, {"[out,in,kh,kw]"});
    expect_error(create(SDN_WEIGHT_CONV2D, {&cube, &cube}, {}), SDN_ERROR_INVALID_ARGUMENT, {"part_count is 2"});
    expect_error(create(SDN_WEIGHT_NORM, {&vector}, {}), SDN_ERROR_INVALID_ARGUMENT, {"biases[0]"});
    expect_error(create(SDN_WEIGHT_NORM, {&matrix}, {&vector}), SDN_ERROR_SHAPE, {"rank 1"});
    expect_error(create(SDN_WEIGHT_EMBEDDING, {&matrix}, {&vector}), SDN_ERROR_INVALID_ARGUMENT, {"no biases"});
    expect_error(create(SDN_WEIGHT_MATRIX, {&matrix}, {}, SDN_FLOAT32, 1), SDN_ERROR_INVALID_ARGUMENT, {"two parts"});
    expect_error(create(SDN_WEIGHT_MATRIX, {&matrix, &other}, {}, SDN_FLOAT32, 1), SDN_ERROR_SHAPE, {"[5,3]", "[4,3]"});
    sdn_tensor strided = matrix.view();
    strided.stride[0] = 5;
    const sdn_weight_desc desc{SDN_WEIGHT_MATRIX, SDN_FLOAT32, 1, 0, 0, 0, &strided, nullptr};
    expect_error(sdn_weight_create(device, &desc, &weight), SDN_ERROR_SHAPE, {"parts[0]", "dense", "[5,1]"});
    expect_error(sdn_weight_create(device, nullptr, &weight), SDN_ERROR_INVALID_ARGUMENT, {"desc is NULL"});
    EXPECT_EQ(weight, nullptr);
}

TEST(Weight, OfAnotherInstructionSet_IsRefused) {
    sdn_device* avx2 = nullptr;
    if (sdn_device_open("cpu:avx2", 1, SDN_PRECISION_REFERENCE, &avx2) != SDN_OK) GTEST_SKIP() << sdn_last_error();
    const Device portable("cpu:portable");
    {
        const Exec exec(avx2);
        const Array part({4, 4}), x({2, 4}), out({2, 4});
        const Weight weight(portable, SDN_WEIGHT_MATRIX, {&part}, {});
        expect_error(sdn_linear(exec, out(), x(), nullptr, weight, nullptr, SDN_ACTIVATION_NONE), SDN_ERROR_INVALID_ARGUMENT,
                     {"sdn_linear", "cpu:portable", "cpu:avx2"});
    }
    ok(sdn_device_close(avx2));
}

}  // namespace sdn::test
