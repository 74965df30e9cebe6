// embedding, gather_rows, timestep_embedding.
#include <cmath>

#include "core/dtype.h"
#include "cpu/baseline.h"
#include "tests/support.h"

namespace sdn::test {

namespace {

Array ids_of(const Shape& shape, const std::vector<int32_t>& values) {
    Array ids(shape, SDN_INT32);
    std::copy(values.begin(), values.end(), ids.as<int32_t>());
    return ids;
}

}  // namespace

TEST(Embedding, EveryStorage_AddsTokenAndPosition) {
    const int64_t batch = 2, length = 5, columns = 13, rows = 7;
    const Array token = Array::random({rows, columns}, 1), position = Array::random({length + 2, columns}, 2);
    const Array ids = ids_of({batch, length}, {0, 6, 3, 3, 1, 5, 2, 0, 6, 4});
    for (const int32_t storage : {SDN_FLOAT32, SDN_FLOAT16, SDN_BFLOAT16})
        for (const bool with_position : {false, true})
            for (const int threads : {1, 3}) {
                const Device device("cpu", threads);
                const Exec exec(device);
                const Weight t(device, SDN_WEIGHT_EMBEDDING, {&token}, {}, storage),
                    p(device, SDN_WEIGHT_EMBEDDING, {&position}, {}, storage);
                const Array out({batch, length, columns});
                ok(sdn_embedding(exec, out(), ids(), t, with_position ? static_cast<sdn_weight*>(p) : nullptr));
                EXPECT_EQ(exec.stats().live_bytes, 0);
                const auto rounded = [&](const Array& table, int64_t i) {
                    Array bits({1}, storage);
                    float value;
                    cpu::convert(bits.data(), storage, table.floats() + i, SDN_FLOAT32, 1);
                    cpu::convert(&value, SDN_FLOAT32, bits.data(), storage, 1);
                    return value;
                };
                for (int64_t m = 0; m < batch * length; ++m)
                    for (int64_t c = 0; c < columns; ++c) {
                        const float base = rounded(token, ids.as<int32_t>()[m] * columns + c);
                        const float expected = with_position ? base + rounded(position, m % length * columns + c) : base;
                        ASSERT_EQ(out[m * columns + c], expected) << dtype_name(storage) << " row " << m << " column " << c;
                    }
            }
}

TEST(Embedding, IdOutOfRange_IsAnErrorThatNamesIt) {
    const Device device("cpu");
    const Exec exec(device);
    const Array table({7, 4}), out({2, 4}), small({2, 3});
    const Weight token(device, SDN_WEIGHT_EMBEDDING, {&table}, {});
    for (const int32_t bad : {7, -1}) {
        const Array ids = ids_of({2}, {0, bad});
        expect_error(sdn_embedding(exec, out(), ids(), token, nullptr), SDN_ERROR_INVALID_ARGUMENT,
                     {"sdn_embedding", "ids[1]", std::to_string(bad).c_str(), "0 to 6"});
        EXPECT_EQ(exec.stats().live_bytes, 0);
    }
    const Array ids = ids_of({2}, {0, 0}), many = ids_of({9}, std::vector<int32_t>(9, 0)), longer({9, 4});
    expect_error(sdn_embedding(exec, small(), ids(), token, nullptr), SDN_ERROR_SHAPE, {"out is [2,3]", "[2,4]"});
    expect_error(sdn_embedding(exec, longer(), many(), token, token), SDN_ERROR_SHAPE, {"position is [7,4]", "[9,4]"});
    expect_error(sdn_embedding(exec, out(), out(), token, nullptr), SDN_ERROR_SHAPE, {"ids is float32, must be int32"});
}

TEST(GatherRows, EveryDtype_CopiesBits) {
    const Device device("cpu", 3);
    const Exec exec(device);
    const Array rows = ids_of({6}, {2, 0, 4, 4, 1, 3});
    for (const int32_t dtype : {SDN_FLOAT32, SDN_FLOAT16, SDN_FLOAT64, SDN_UINT8}) {
        const int64_t bytes = 11 * dtype_bytes(dtype);
        const Array x({5, 11}, dtype), out({6, 11}, dtype);
        for (int64_t i = 0; i < 5 * bytes; ++i) x.as<uint8_t>()[i] = static_cast<uint8_t>(i * 7 + 1);
        ok(sdn_gather_rows(exec, out(), x(), rows()));
        for (int64_t m = 0; m < 6; ++m)
            for (int64_t i = 0; i < bytes; ++i)
                ASSERT_EQ(out.as<uint8_t>()[m * bytes + i], x.as<uint8_t>()[rows.as<int32_t>()[m] * bytes + i]);
    }
    const Array x({5, 11}), out({6, 11}), short_out({5, 11}), bad = ids_of({6}, {0, 0, 0, 5, 0, 0});
    expect_error(sdn_gather_rows(exec, out(), x(), bad()), SDN_ERROR_INVALID_ARGUMENT, {"sdn_gather_rows", "rows[3] is 5", "0 to 4"});
    expect_error(sdn_gather_rows(exec, short_out(), x(), rows()), SDN_ERROR_SHAPE, {"out is [5,11]", "[6,11]"});
}

TEST(TimestepEmbedding, OddAndEvenSizes_EqualTheTwin) {
    const Device device("cpu", 3);
    const Exec exec(device);
    const Array timesteps = Array::of({5}, {0, 1, 999, 500.5f, 0.25f});
    for (const int64_t dim : {1, 2, 7, 32, 320, 321})
        for (const int32_t flip : {0, 1})
            for (const float shift : {0.0f, 1.0f}) {
                if (dim / 2 <= static_cast<int64_t>(shift)) continue;
                const Array out({5, dim});
                const sdn_timestep_params params{flip, shift, 10000, 0};
                ok(sdn_timestep_embedding(exec, out(), timesteps(), &params));
                const int64_t half = dim / 2;
                for (int64_t n = 0; n < 5; ++n)
                    for (int64_t i = 0; i < dim; ++i) {
                        double expected = 0;
                        if (i < 2 * half) {
                            // The angle is a product of float32 numbers: a relative error of some units, so an absolute one of the angle.
                            const double frequency = std::exp(-std::log(10000.0) * static_cast<double>(i % half) /
                                                              (static_cast<double>(half) - static_cast<double>(shift)));
                            const double angle = static_cast<double>(timesteps[n]) * frequency;
                            expected = (i < half) == (flip != 0) ? std::cos(angle) : std::sin(angle);
                        }
                        ASSERT_NEAR(static_cast<double>(out[n * dim + i]), expected, 20 * kUnit * std::max(1.0f, timesteps[n]))
                            << "dim " << dim << " flip " << flip << " timestep " << timesteps[n] << " index " << i;
                    }
            }
}

// diffusers 0.31, torch 2.6, float32: get_timestep_embedding(tensor([999.]), 4, flip_sin_to_cos=True, downscale_freq_shift=0): the angles
// are 999 and float32(999 * exp(-log(10000)/2)) = 9.99, whose cosines and sines are exact to the last bit.
TEST(TimestepEmbedding, KnownAngles_AreExact) {
    const Device device("cpu");
    const Exec exec(device);
    const Array timesteps = Array::of({1}, {999}), out({1, 4});
    const sdn_timestep_params params{1, 0, 10000, 0};
    ok(sdn_timestep_embedding(exec, out(), timesteps(), &params));
    const float small = 999.0f * static_cast<float>(std::exp(static_cast<double>(static_cast<float>(-std::log(10000.0)) * 1.0f / 2.0f)));
    EXPECT_EQ(out[0], static_cast<float>(std::cos(999.0)));
    EXPECT_EQ(out[1], static_cast<float>(std::cos(static_cast<double>(small))));
    EXPECT_EQ(out[2], static_cast<float>(std::sin(999.0)));
    EXPECT_EQ(out[3], static_cast<float>(std::sin(static_cast<double>(small))));
}

TEST(TimestepEmbedding, BadArguments_NameThem) {
    const Device device("cpu");
    const Exec exec(device);
    const Array timesteps({2}), out({2, 8}), wrong({3, 8});
    sdn_timestep_params params{1, 0, 10000, 0};
    expect_error(sdn_timestep_embedding(exec, wrong(), timesteps(), &params), SDN_ERROR_SHAPE,
                 {"sdn_timestep_embedding", "[3,8]", "[2,8]"});
    expect_error(sdn_timestep_embedding(exec, out(), timesteps(), nullptr), SDN_ERROR_INVALID_ARGUMENT, {"params is NULL"});
    params.downscale_freq_shift = 4;
    expect_error(sdn_timestep_embedding(exec, out(), timesteps(), &params), SDN_ERROR_INVALID_ARGUMENT, {"downscale_freq_shift is 4"});
    params = {1, 0, 0, 0};
    expect_error(sdn_timestep_embedding(exec, out(), timesteps(), &params), SDN_ERROR_INVALID_ARGUMENT, {"max_period is 0"});
}

}  // namespace sdn::test
