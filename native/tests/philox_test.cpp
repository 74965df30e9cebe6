// sdn_philox_normal, against numbers that PyTorch users printed from their GPUs.
#include <cmath>
#include <cstdlib>

#include "core/philox.h"
#include "tests/support.h"

namespace sdn::test {

namespace {

// Half of the last printed decimal, and what a GPU's sine may be off (2^-21, times a radius of at most 6.7).
constexpr double kPrintedLimit = 5e-5 + 6.7 * 0x1p-21;

struct Printed {
    int64_t index;
    double value;
};

void expect_printed(const Array& got, const std::vector<Printed>& printed) {
    for (const Printed& p : printed) EXPECT_NEAR(static_cast<double>(got[p.index]), p.value, kPrintedLimit) << "element " << p.index;
}

class PhiloxNormal : public DeviceWithExec {
  protected:
    Array draw(const Shape& shape, uint64_t seed, int32_t multiprocessors, int32_t threads, uint64_t offset = 0, uint64_t* next = nullptr) {
        Array out(shape);
        ok(sdn_philox_normal(exec_, out(), seed, offset, multiprocessors, threads, next));
        return out;
    }
};

}  // namespace

// Salmon et al.'s known answers for philox4x32-10 (kat_vectors of Random123): zeros, ones, and
// counter and key from the digits of pi, where every word differs.
TEST(Philox, KnownAnswers_AreThoseOfRandom123) {
    const PhiloxBlock zeros = philox4x32_10(0, 0, 0);
    const uint32_t expected_zeros[] = {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u};
    const PhiloxBlock ones = philox4x32_10(~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0});
    const uint32_t expected_ones[] = {0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu};
    const PhiloxBlock pi = philox4x32_10(0x299f31d0a4093822u, 0x0370734413198a2eu, 0x85a308d3243f6a88u);
    const uint32_t expected_pi[] = {0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u};
    for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(zeros.v[i], expected_zeros[i]);
        EXPECT_EQ(ones.v[i], expected_ones[i]);
        EXPECT_EQ(pi.v[i], expected_pi[i]);
    }
}

// The example of modules/rng_philox.py in AUTOMATIC1111/stable-diffusion-webui, which imitates torch.randn((3, 4), device="cuda") after
// torch.manual_seed(0): in double precision, so its last digits are not those of float32.
TEST_P(PhiloxNormal, Seed0_IsTheWebUisExample) {
    const double expected[] = {-0.92466259, -0.42534415, -2.6438457,  0.14518388,  -0.12086647, -0.57972564,
                               -0.62285122, -0.32838709, -1.07454231, -0.36314407, -1.67105067, 2.26550497};
    const Array got = draw({3, 4}, 0, 132, 2048);
    // float32 logarithms and products in a radius of at most 3, and the sine of a GPU.
    for (int64_t i = 0; i < 12; ++i) EXPECT_NEAR(static_cast<double>(got[i]), expected[i], 1e-6 + 3 * 0x1p-21) << i;
}

// pytorch/pytorch issue 158398: randn([1, 64, 2048]) of seed 42 on a GPU (not named there) of 43,008 threads, which is an RTX 3060.
TEST_P(PhiloxNormal, MoreElementsThanThreads_IsThePrintedTensorOfThatGpu) {
    const Array got = draw({1, 64, 2048}, 42, 28, 1536);
    expect_printed(got, {{0, 0.1940},
                         {1, 2.1614},
                         {2, -0.1721},
                         {2045, 1.4540},
                         {2046, -2.7733},
                         {2047, -0.8932},
                         {2048, -0.4574},
                         {61 * 2048, -0.4861},
                         {62 * 2048 - 1, 0.1318},
                         {62 * 2048 + 1, 0.8339},
                         {63 * 2048, -1.2356},
                         {64 * 2048 - 2, 1.2850},
                         {64 * 2048 - 1, -0.0282}});
}

// pytorch/pytorch issue 97097: normal_(5, sqrt 5) of shape [1000, 100], seed 14, on an RTX A4000 (48 multiprocessors of 1536 threads).
TEST_P(PhiloxNormal, RtxA4000_IsItsPrintedTensor) {
    const Array got = draw({1000, 100}, 14, 48, 1536);
    const auto standard = [](double printed) { return (printed - 5) / std::sqrt(5.0); };
    expect_printed(got, {{0, standard(2.8731)},
                         {99, standard(6.6319)},
                         {101, standard(3.8097)},
                         {99700, standard(8.6297)},
                         {99801, standard(7.8583)},
                         {99998, standard(6.5395)},
                         {99999, standard(4.2604)}});
}

// What the kernel does beyond the printed numbers: odd sizes, several draws per thread, offsets and their growth by 4 per draw of a thread
// (calc_execution_policy of PyTorch's DistributionTemplates.h), against the definition computed one element at a time.
TEST_P(PhiloxNormal, OddSizesAndOffsets_FollowTheDefinition) {
    const uint64_t seed = 0x123456789abcdefu;
    for (const int64_t count : {1, 3, 255, 257, 1023, 1025, 2047, 2049, 5000})
        for (const uint64_t offset : {uint64_t{0}, uint64_t{4}, uint64_t{0xffffffffu} * 4}) {
            uint64_t next = 0;
            const Array got = draw({count}, seed, 2, 300, offset, &next);  // of 300 threads one block of 256 is resident
            const int64_t threads = count <= 256 ? 256 : 512;
            EXPECT_EQ(next, offset + 4 * static_cast<uint64_t>((count - 1) / (4 * threads) + 1));
            for (int64_t i = 0; i < count; ++i) {
                const int64_t lane = i / threads % 4;
                const PhiloxBlock bits =
                    philox4x32_10(seed, static_cast<uint64_t>(i % threads), offset / 4 + static_cast<uint64_t>(i / threads / 4));
                const double u = (bits.v[lane / 2 * 2] + 0.5) * 0x1p-32, angle = (bits.v[lane / 2 * 2 + 1] + 0.5) * 0x1p-31 * M_PI;
                const double radius = std::sqrt(-2 * std::log(u));
                // 32 bits become a float angle (an error of 2^-22 near 2 pi) and a float logarithm (2^-24 of u near 1), then a GPU's sine.
                ASSERT_NEAR(static_cast<double>(got[i]), radius * (lane % 2 == 0 ? std::sin(angle) : std::cos(angle)),
                            radius * (0x1p-21 + 0x1p-21) + 0x1p-24 / std::max(radius, 1e-4))
                    << "element " << i << " of " << count << " at offset " << offset;
            }
        }
}

TEST_P(PhiloxNormal, BadArguments_NameThem) {
    Array out({8}), bytes({8}, SDN_UINT8);
    expect_error(sdn_philox_normal(exec_, bytes(), 1, 0, 28, 1536, nullptr), SDN_ERROR_SHAPE, {"sdn_philox_normal", "out", "float32"});
    expect_error(sdn_philox_normal(exec_, out(), 1, 2, 28, 1536, nullptr), SDN_ERROR_INVALID_ARGUMENT, {"offset", "2", "4"});
    expect_error(sdn_philox_normal(exec_, out(), 1, 0, 28, 255, nullptr), SDN_ERROR_INVALID_ARGUMENT, {"255"});
    expect_error(sdn_philox_normal(exec_, out(), 1, 0, -1, 1536, nullptr), SDN_ERROR_INVALID_ARGUMENT, {"-1"});
}

INSTANTIATE_TEST_SUITE_P(On, PhiloxNormal, ::testing::Values("cpu", "cuda:emulated", "cuda:0"),
                         [](const ::testing::TestParamInfo<const char*>& info) {
                             const std::string name = info.param;
                             return name == "cuda:0" ? std::string("gpu") : name.substr(name.find(':') + 1);
                         });

// pytorch/pytorch issue 143086: randn(1, 49 * 12 * 112 * 144) of seed 1, so many elements that every thread draws several times.
TEST(PhiloxNormalOnCpu, SeveralDrawsPerThread_IsThePrintedTensor) {
    const int64_t count = 49 * 12 * 112 * 144;
    const Device device("cpu");
    const Exec exec(device);
    const Array out({count});
    ok(sdn_philox_normal(exec, out(), 1, 0, 132, 2048, nullptr));  // H100
    expect_printed(out, {{0, -0.2963}, {1, 2.6764}, {2, -0.1408}, {count - 3, -0.6970}, {count - 2, -0.7780}, {count - 1, 0.3267}});
    ok(sdn_philox_normal(exec, out(), 1, 0, 108, 2048, nullptr));  // A100
    expect_printed(out, {{0, -0.2963}, {count - 3, 0.1549}, {count - 2, -0.6797}, {count - 1, -0.1656}});
}

TEST(PhiloxNormalOnCpu, NoGpuGiven_SaysSo) {
    const Device device("cpu");
    const Exec exec(device);
    const Array out({8});
    expect_error(sdn_philox_normal(exec, out(), 1, 0, 0, 0, nullptr), SDN_ERROR_INVALID_ARGUMENT, {"multiprocessors"});
}

}  // namespace sdn::test
