#include "core/weight.h"

namespace sdn {

Weight::Weight(std::shared_ptr<Device> device, const sdn_weight_desc& desc) : device_(std::move(device)) {
    const sdn_tensor& first = desc.parts[0];
    info_.kind = desc.kind;
    info_.storage = desc.kind == SDN_WEIGHT_NORM ? int32_t{SDN_FLOAT32} : desc.storage;
    for (int32_t i = 0; i < desc.part_count; ++i) info_.rows += desc.parts[i].shape[0];
    info_.columns = 1;
    for (int i = 1; i < first.rank; ++i) info_.columns *= first.shape[i];
    if (first.rank == 4) {
        kernel_height_ = static_cast<int32_t>(first.shape[2]);
        kernel_width_ = static_cast<int32_t>(first.shape[3]);
    }
    geglu_ = desc.geglu != 0;
}

}  // namespace sdn
