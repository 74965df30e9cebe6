// Weights: checks of what is given, then core/weight.
#include "api/check.h"
#include "core/weight.h"

using namespace sdn;
using namespace sdn::api;

namespace {

std::string part_name(const char* list, int32_t i) {
    return std::string(list) + "[" + std::to_string(i) + "]";
}

const sdn_tensor& require_part(const sdn_tensor* list, const char* name, int32_t i) {
    const std::string part = part_name(name, i);
    const sdn_tensor& t = require_dense(list + i, part.c_str());
    if (!is_float_dtype(t.dtype))
        fail(SDN_ERROR_SHAPE, "%s is %s, must be float32, float16, bfloat16 or float64", part.c_str(), dtype_name(t.dtype));
    return t;
}

void check_ranks(const sdn_weight_desc& desc) {
    for (int32_t i = 0; i < desc.part_count; ++i) {
        const sdn_tensor& part = require_part(desc.parts, "parts", i);
        const std::string name = part_name("parts", i);
        switch (desc.kind) {
            case SDN_WEIGHT_MATRIX:
                if (part.rank == 4 && part.shape[2] == 1 && part.shape[3] == 1) break;
                if (part.rank != 2)
                    fail(SDN_ERROR_SHAPE, "%s is %s, must be [out,in] or [out,in,1,1]", name.c_str(), shape_text(part).c_str());
                break;
            case SDN_WEIGHT_CONV2D:
                if (part.rank != 4) fail(SDN_ERROR_SHAPE, "%s is %s, must be [out,in,kh,kw]", name.c_str(), shape_text(part).c_str());
                break;
            case SDN_WEIGHT_NORM:
                require_rank(part, name.c_str(), 1, 1);
                break;
            default:
                require_rank(part, name.c_str(), 2, 2);
                break;
        }
        if (i > 0 && part.shape[1] != desc.parts[0].shape[1])
            fail(SDN_ERROR_SHAPE, "%s is %s but parts[0] is %s: their inputs differ", name.c_str(), shape_text(part).c_str(),
                 shape_text(desc.parts[0]).c_str());
    }
}

void check_biases(const sdn_weight_desc& desc) {
    if (desc.kind == SDN_WEIGHT_NORM && desc.biases == nullptr) fail(SDN_ERROR_INVALID_ARGUMENT, "a norm needs biases[0], its shift");
    if (desc.kind == SDN_WEIGHT_EMBEDDING && desc.biases != nullptr) fail(SDN_ERROR_INVALID_ARGUMENT, "an embedding has no biases");
    if (desc.biases == nullptr) return;
    for (int32_t i = 0; i < desc.part_count; ++i)
        require_shape(require_part(desc.biases, "biases", i), part_name("biases", i).c_str(), {desc.parts[i].shape[0]},
                      (part_name("parts", i) + " gives").c_str());
}

void check_desc(const sdn_weight_desc& desc) {
    if (desc.kind < SDN_WEIGHT_MATRIX || desc.kind > SDN_WEIGHT_EMBEDDING)
        fail(SDN_ERROR_INVALID_ARGUMENT, "unknown weight kind %d", desc.kind);
    if (desc.storage != SDN_FLOAT32 && desc.storage != SDN_FLOAT16 && desc.storage != SDN_BFLOAT16 && desc.storage != SDN_INT8)
        fail(SDN_ERROR_INVALID_ARGUMENT, "storage is %s, must be float32, float16, bfloat16 or int8", dtype_name(desc.storage));
    if (desc.storage == SDN_INT8 && desc.kind != SDN_WEIGHT_MATRIX && desc.kind != SDN_WEIGHT_CONV2D)
        fail(SDN_ERROR_INVALID_ARGUMENT, "storage is int8, which is for matrices and convolutions");
    require(desc.parts, "parts");
    const int32_t most = desc.kind == SDN_WEIGHT_MATRIX ? 64 : 1;
    if (desc.part_count < 1 || desc.part_count > most)
        fail(SDN_ERROR_INVALID_ARGUMENT, "part_count is %d, must be 1%s", desc.part_count,
             most > 1 ? " to 64" : " for this kind of weight");
    check_ranks(desc);
    check_biases(desc);
    if (desc.storage == SDN_INT8 && desc.parts[0].shape[1] % 4 != 0)
        fail(SDN_ERROR_SHAPE, "parts[0] is %s: storage in int8 needs inputs in fours", shape_text(desc.parts[0]).c_str());
    if (desc.doubles != 0 && (desc.kind != SDN_WEIGHT_CONV2D || desc.parts[0].shape[2] != 3 || desc.parts[0].shape[3] != 3))
        fail(SDN_ERROR_INVALID_ARGUMENT, "doubles is for 3x3 convolutions, but parts[0] is %s", shape_text(desc.parts[0]).c_str());
    if (desc.geglu != 0) {
        if (desc.kind != SDN_WEIGHT_MATRIX || desc.part_count != 2)
            fail(SDN_ERROR_INVALID_ARGUMENT, "geglu needs a matrix weight of two parts, value and gate");
        require_same_shape(desc.parts[1], "parts[1]", desc.parts[0], "parts[0]");
    }
}

}  // namespace

extern "C" {

sdn_status sdn_weight_create(sdn_device* device, const sdn_weight_desc* desc, sdn_weight** weight) {
    return guard("sdn_weight_create", [&] {
        const sdn_device& d = require(device, "device");
        sdn_weight*& result = require(weight, "weight");
        result = nullptr;
        check_desc(require(desc, "desc"));
        result = new sdn_weight{d.device->make_weight(*desc)};
    });
}

sdn_status sdn_weight_destroy(sdn_weight* weight) {
    return guard("sdn_weight_destroy", [&] { delete weight; });
}

sdn_status sdn_weight_get_info(const sdn_weight* weight, sdn_weight_info* info) {
    return guard("sdn_weight_get_info", [&] {
        const Weight& w = *require(weight, "weight").weight;
        require(info, "info") = w.info();
    });
}

sdn_status sdn_weight_unpack(const sdn_weight* weight, void* values, float* bias) {
    return guard("sdn_weight_unpack", [&] { require(weight, "weight").weight->unpack(values, bias); });
}

}  // extern "C"
