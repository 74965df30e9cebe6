#include "cpu/weight.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/dtype.h"
#include "core/error.h"
#include "core/system_info.h"
#include "cpu/baseline.h"

namespace sdn::cpu {

Weight::Weight(std::shared_ptr<sdn::Device> device, const Kernels& kernels, bool fast, const sdn_weight_desc& desc)
    : sdn::Weight(std::move(device), desc), kernels_(kernels) {
    matrix_.fast = fast;
    switch (desc.kind) {
        case SDN_WEIGHT_NORM:
            copy_norm(desc);
            break;
        case SDN_WEIGHT_EMBEDDING:
            copy_embedding(desc);
            break;
        default:
            pack_matrix(desc);
            if (desc.biases != nullptr) pack_bias(desc);
    }
    info_.bytes = values_.bytes() + bias_.bytes() + scales_.bytes();
}

void Weight::copy_norm(const sdn_weight_desc& desc) {
    values_ = Memory(info_.rows * 4, "a norm's scale");
    bias_ = Memory(info_.rows * 4, "a norm's shift");
    convert(values_.data(), SDN_FLOAT32, desc.parts[0].data, desc.parts[0].dtype, info_.rows);
    convert(bias_.data(), SDN_FLOAT32, desc.biases[0].data, desc.biases[0].dtype, info_.rows);
    norm_ = {static_cast<const float*>(values_.data()), static_cast<const float*>(bias_.data()), info_.rows};
}

void Weight::copy_embedding(const sdn_weight_desc& desc) {
    const int64_t count = info_.rows * info_.columns;
    values_ = Memory(count * dtype_bytes(desc.storage), "an embedding table");
    convert(values_.data(), desc.storage, desc.parts[0].data, desc.parts[0].dtype, count);
    embedding_ = {values_.data(), desc.storage, info_.rows, info_.columns};
}

void Weight::pack_matrix(const sdn_weight_desc& desc) {
    matrix_.storage = desc.storage;
    matrix_.rows = info_.rows;
    matrix_.columns = info_.columns;
    matrix_.kernel_height = kernel_height_;
    matrix_.kernel_width = kernel_width_;
    matrix_.geglu = geglu_;
    // Pairs do not reach from one tap to the next.
    const int64_t channels = info_.columns / kernel_height_ / kernel_width_;
    matrix_.pairs = matrix_.fast && desc.storage == SDN_BFLOAT16 && kernels_.pairs && channels % 2 == 0;
    matrix_.panel_width = kernels_.panel_width;
    matrix_.panel_count = (matrix_.rows + matrix_.panel_width - 1) / matrix_.panel_width;
    if (matrix_.geglu) {
        const int64_t half = matrix_.panel_width / 2;
        matrix_.panel_count = (matrix_.rows / 2 + half - 1) / half;
    }
    values_ = Memory(matrix_.panel_count * matrix_.panel_width * matrix_.columns * dtype_bytes(desc.storage), "a packed weight");
    matrix_.data = values_.data();
    if (desc.storage == SDN_INT8) take_scales();
    int64_t row = 0;
    for (int32_t i = 0; i < desc.part_count; ++i) {
        const sdn_tensor& part = desc.parts[i];
        kernels_.pack_rows(matrix_, part.data, part.dtype, row, part.shape[0]);
        row += part.shape[0];
    }
    if (matrix_.fast && can_multiply_halves(kernels_) && dtype_bytes(desc.storage) == 2) choose_halves();
}

// Weights below 2^15 are multiplied in float16: float16 as it stands, bfloat16 as multiples of the power of two above
// them all. Weights that are larger or not finite are multiplied in float32.
void Weight::choose_halves() {
    const uint16_t* const bits = static_cast<const uint16_t*>(values_.data());
    int16_t largest = 0;  // signed, since the baseline's vectors compare no others
    for (int64_t i = 0, count = values_.bytes() / 2; i < count; ++i) largest = std::max(largest, static_cast<int16_t>(bits[i] & 0x7fff));
    const bool wide = matrix_.storage == SDN_BFLOAT16;
    const float magnitude = wide ? float_from_bfloat16(static_cast<uint16_t>(largest)) : float_from_half(static_cast<uint16_t>(largest));
    if (!(magnitude < 0x1p15f)) return;
    int exponent = 0;  // magnitude < 2^exponent
    std::frexp(magnitude, &exponent);
    exponent = std::max(exponent, -100);
    matrix_.halves = true;
    // Inputs are then below 2^4: room below either for float16's small numbers.
    constexpr int kWideExponent = 5;
    matrix_.half_unit = wide ? std::ldexp(1.0f, exponent - kWideExponent) : 1.0f;
    matrix_.half_exponent = wide ? kWideExponent : exponent;
}

// Of the columns past the outputs, too: these are zeros.
void Weight::take_scales() {
    static const bool has_vnni = cpu_has_avx512vnni();
    if (!kernels_.bytes || !has_vnni)
        fail(SDN_ERROR_UNSUPPORTED,
             "weights in int8 need a processor with AVX512_VNNI and the instruction set avx512: cpu:%s keeps them in "
             "float32, float16 or bfloat16",
             kernels_.name);
    const int64_t count = matrix_.panel_count * matrix_.panel_width * kernels_.scale_blocks(matrix_.columns);
    scales_ = Memory(8 * count, "a packed weight's scales");
    matrix_.scales = static_cast<float*>(scales_.data());
    matrix_.sums = static_cast<int32_t*>(scales_.data()) + count;
    std::memset(scales_.data(), 0, static_cast<size_t>(scales_.bytes()));
    std::memset(values_.data(), 0, static_cast<size_t>(values_.bytes()));
}

// Where the bias of a logical row lies: geglu panels hold half a panel of values and then their gates.
int64_t Weight::packed_column(int64_t row) const {
    if (!matrix_.geglu) return row;
    const int64_t half = matrix_.panel_width / 2, values = matrix_.rows / 2;
    const int64_t output = row < values ? row : row - values;
    return output / half * matrix_.panel_width + output % half + (row < values ? 0 : half);
}

void Weight::pack_bias(const sdn_weight_desc& desc) {
    bias_ = Memory(matrix_.panel_count * matrix_.panel_width * 4, "a bias");
    matrix_.bias = static_cast<float*>(bias_.data());
    int64_t row = 0;
    for (int32_t i = 0; i < desc.part_count; ++i) {
        const sdn_tensor& part = desc.biases[i];
        const char* source = static_cast<const char*>(part.data);
        for (int64_t j = 0; j < part.shape[0]; ++j, ++row)
            convert(matrix_.bias + packed_column(row), SDN_FLOAT32, source + j * dtype_bytes(part.dtype), part.dtype, 1);
    }
}

void Weight::unpack(void* values, float* bias) const {
    const bool is_matrix = info_.kind == SDN_WEIGHT_MATRIX || info_.kind == SDN_WEIGHT_CONV2D;
    if (values != nullptr) {
        if (is_matrix)
            kernels_.unpack(matrix_, values);
        else
            std::memcpy(values, values_.data(), static_cast<size_t>(values_.bytes()));
    }
    if (bias == nullptr) return;
    if (info_.kind == SDN_WEIGHT_NORM) {
        std::memcpy(bias, norm_.shift, static_cast<size_t>(info_.rows) * 4);
    } else {
        for (int64_t row = 0; row < info_.rows; ++row) bias[row] = is_matrix && matrix_.bias ? matrix_.bias[packed_column(row)] : 0.0f;
    }
}

}  // namespace sdn::cpu
