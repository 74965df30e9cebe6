// Tensors in 16 bits, and the limits of products of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

#include "tests/sums.h"

namespace sdn::test {

// A copy in `dtype`, rounded to nearest even, `misalign` bytes off a 64-byte address.
inline Array in_dtype(const Array& source, int32_t dtype, int64_t misalign = 0) {
    Array result(source.shape(), dtype, misalign);
    for (int64_t i = 0; i < source.size(); ++i) {
        if (dtype == SDN_FLOAT32)
            result[i] = source[i];
        else
            result.as<uint16_t>()[i] = dtype == SDN_FLOAT16 ? half_from_float(source[i]) : bfloat16_from_float(source[i]);
    }
    return result;
}

inline Array in_float32(const Array& source) {
    const int32_t dtype = source.view().dtype;
    Array result(source.shape());
    for (int64_t i = 0; i < source.size(); ++i) {
        if (dtype == SDN_FLOAT32)
            result[i] = source[i];
        else
            result[i] = dtype == SDN_FLOAT16 ? float_from_half(source.as<uint16_t>()[i]) : float_from_bfloat16(source.as<uint16_t>()[i]);
    }
    return result;
}

// What storing a value in dtype, which was `error` off, may be off: half a unit in the last place more.
inline double stored_limit(double value, double error, int32_t dtype) {
    if (dtype == SDN_FLOAT32) return error + kUnit * std::fabs(value);
    const double unit = dtype == SDN_FLOAT16 ? kFloat16Unit : kBFloat16Unit;
    const double smallest = dtype == SDN_FLOAT16 ? 0x1p-25 : 0x1p-134;  // half the distance of subnormal numbers
    return error + std::max(unit * (std::fabs(value) + error), smallest);
}

inline std::string last_kernels(sdn_exec* exec) {
    return sdn_exec_last_kernels(exec);
}

// While it lives, products on tensor cores take this tile of tuning/tiles.h, this many splits and stages (or fewer).
class ForcedTile {
  public:
    ForcedTile(int tile, int splits, int stages) {
        const std::string text = std::to_string(tile) + ' ' + std::to_string(splits) + ' ' + std::to_string(stages);
        set(text.c_str());
    }
    ~ForcedTile() { set(nullptr); }
    ForcedTile(const ForcedTile&) = delete;
    ForcedTile& operator=(const ForcedTile&) = delete;

  private:
    static void set(const char* text) {
#if defined(_WIN32)
        _putenv_s("SDN_CUDA_TILE", text != nullptr ? text : "");
#else
        if (text != nullptr)
            setenv("SDN_CUDA_TILE", text, 1);
        else
            unsetenv("SDN_CUDA_TILE");
#endif
    }
};

// A test that runs on each kind of CUDA device.
#define SDN_FOR_EACH_CUDA_DEVICE(suite)                                                         \
    INSTANTIATE_TEST_SUITE_P(On, suite, ::testing::Values("cuda:emulated", "cuda:0"),           \
                             [](const ::testing::TestParamInfo<const char*>& info) {            \
                                 const std::string name = info.param;                           \
                                 return name == "cuda:0" ? std::string("gpu") : name.substr(5); \
                             })

}  // namespace sdn::test
