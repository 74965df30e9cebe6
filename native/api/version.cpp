// Versions and struct sizes: what a caller asks before anything else.
#include <string>

#include "core/error.h"
#include "cuda/device.h"
#include "sdn.h"

namespace {

std::string build_text() {
    std::string text = "sdn ABI " + std::to_string(SDN_ABI_VERSION) + "; ";
#if defined(__clang__)
    text += "clang " __clang_version__;
#elif defined(__GNUC__)
    text += "gcc " __VERSION__;
#elif defined(_MSC_VER)
    text += "MSVC " + std::to_string(_MSC_VER);
#endif
    text += "; CPU portable";
#if defined(SDN_HAS_avx2)
    text += " avx2";
#endif
#if defined(SDN_HAS_avx512)
    text += " avx512";
#endif
#if defined(SDN_HAS_avx512bf16)
    text += " avx512bf16";
#endif
#if defined(SDN_HAS_FLOAT16_PRODUCTS)
    text += ", float16 products";
#endif
    return text + "; " + sdn::cuda::build_text();
}

}  // namespace

extern "C" {

const char* sdn_last_error(void) {
    return sdn::last_error();
}

int32_t sdn_abi_version(void) {
    return SDN_ABI_VERSION;
}

int64_t sdn_struct_size(int32_t kind) {
    switch (kind) {
        case SDN_STRUCT_TENSOR:
            return sizeof(sdn_tensor);
        case SDN_STRUCT_DEVICE_INFO:
            return sizeof(sdn_device_info);
        case SDN_STRUCT_WEIGHT_DESC:
            return sizeof(sdn_weight_desc);
        case SDN_STRUCT_WEIGHT_INFO:
            return sizeof(sdn_weight_info);
        case SDN_STRUCT_EXEC_STATS:
            return sizeof(sdn_exec_stats);
        case SDN_STRUCT_CONV2D_PARAMS:
            return sizeof(sdn_conv2d_params);
        case SDN_STRUCT_ATTENTION_PARAMS:
            return sizeof(sdn_attention_params);
        case SDN_STRUCT_TIMESTEP_PARAMS:
            return sizeof(sdn_timestep_params);
        default:
            return -1;
    }
}

const char* sdn_build_info(void) {
    static char text[256];
    static const bool filled = [] {
        build_text().copy(text, sizeof text - 1);
        return true;
    }();
    return filled ? text : "";
}

}  // extern "C"
