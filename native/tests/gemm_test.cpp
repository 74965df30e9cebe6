// Packed weights: unpacking gives back what was packed, bit for bit, whatever the layout inside.
#include "matrix_testing.h"

using namespace matrix_testing;

namespace {

std::vector<unsigned char> random_bytes(size_t count, uint32_t seed) {
    std::mt19937 engine(seed);
    std::vector<unsigned char> bytes(count);
    for (unsigned char& b : bytes) b = static_cast<unsigned char>(engine());
    return bytes;
}

int64_t bytes_of(int32_t dtype) {
    return dtype == SDN_FLOAT64 ? 8 : dtype == SDN_FLOAT32 ? 4 : 2;
}

class PackTest : public EveryInstructionSet {
  protected:
    // Packs parts of random bits (NaNs, infinities and subnormals among them) and unpacks them in the same dtype.
    void expect_round_trip(int32_t kind, int32_t dtype, std::vector<std::vector<int64_t>> shapes, bool geglu) {
        const Device device = open_device(GetParam(), 1);
        std::vector<std::vector<unsigned char>> values;
        std::vector<sdn_tensor> parts;
        std::vector<unsigned char> all;
        for (const std::vector<int64_t>& s : shapes) {
            const int64_t count = s[0] * s[1] * (s.size() > 2 ? s[2] * s[3] : 1);
            values.push_back(random_bytes(static_cast<size_t>(count * bytes_of(dtype)), static_cast<uint32_t>(values.size())));
            all.insert(all.end(), values.back().begin(), values.back().end());
            parts.push_back(s.size() > 2 ? tensor(nullptr, {s[0], s[1], s[2], s[3]}, dtype) : tensor(nullptr, {s[0], s[1]}, dtype));
        }
        for (size_t i = 0; i < parts.size(); ++i) parts[i].data = values[i].data();
        const sdn_weight_desc desc{kind, dtype, static_cast<int32_t>(parts.size()), geglu ? 1 : 0, parts.data(), nullptr};
        sdn_weight* created = nullptr;
        check(sdn_weight_create(device.get(), &desc, &created));
        const Weight weight(created);
        std::vector<unsigned char> unpacked(all.size());
        check(sdn_weight_unpack(weight.get(), unpacked.data(), nullptr));
        EXPECT_EQ(unpacked, all) << "kind " << kind << ", dtype " << dtype << ", rows " << shapes[0][0] << ", inputs " << shapes[0][1];
    }
};

TEST_P(PackTest, Pack_SameDtype_UnpacksBitForBit) {
    for (const int32_t dtype : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16}) {
        for (const int64_t rows : {1, 7, 16, 32, 33, 70}) {
            expect_round_trip(SDN_WEIGHT_MATRIX, dtype, {{rows, 11}}, false);
            expect_round_trip(SDN_WEIGHT_MATRIX, dtype, {{rows, 150}, {5, 150}, {rows + 1, 150}}, false);
            expect_round_trip(SDN_WEIGHT_MATRIX, dtype, {{rows, 20}, {rows, 20}}, true);
            expect_round_trip(SDN_WEIGHT_CONV2D, dtype, {{rows, 5, 3, 3}}, false);
            expect_round_trip(SDN_WEIGHT_CONV2D, dtype, {{rows, 33, 2, 5}}, false);
            expect_round_trip(SDN_WEIGHT_CONV2D, dtype, {{rows, 200, 1, 1}}, false);
        }
    }
}

TEST_P(PackTest, Pack_OtherDtype_RoundsToNearest) {
    const Device device = open_device(GetParam(), 1);
    std::vector<double> source;
    std::mt19937 engine(1);
    for (int i = 0; i < 37 * 21; ++i) source.push_back(static_cast<int32_t>(engine()) * 0x1p-30);
    const sdn_tensor part = tensor(source.data(), {37, 21}, SDN_FLOAT64);
    for (const int32_t storage : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16}) {
        const sdn_weight_desc desc{SDN_WEIGHT_MATRIX, storage, 1, 0, &part, nullptr};
        sdn_weight* created = nullptr;
        check(sdn_weight_create(device.get(), &desc, &created));
        const Weight weight(created);
        const std::vector<double> stored = stored_values(weight.get());
        const int digits = storage == SDN_FLOAT32 ? 24 : storage == SDN_FLOAT16 ? 11 : 8;
        for (size_t i = 0; i < source.size(); ++i) {
            // Half a unit in the last place, or half the spacing of float16's subnormals.
            const double limit = std::fmax(std::ldexp(std::fabs(source[i]), -digits), storage == SDN_FLOAT16 ? 0x1p-25 : 0);
            ASSERT_LE(std::fabs(stored[i] - source[i]), limit) << "storage " << storage << ", element " << i;
        }
    }
}

INSTANTIATE_FOR_EVERY_INSTRUCTION_SET(PackTest);

}  // namespace
