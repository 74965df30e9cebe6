// A weight on a device: immutable, packed once from its logical parts. cpu/weight.h and cuda/weight.h implement it.
#pragma once

#include <memory>

#include "core/device.h"
#include "sdn.h"

namespace sdn {

class Weight {
  public:
    virtual ~Weight() = default;
    Weight(const Weight&) = delete;
    Weight& operator=(const Weight&) = delete;

    int kind() const { return info_.kind; }
    const sdn_weight_info& info() const { return info_; }
    const Device& device() const { return *device_; }
    int32_t kernel_height() const { return kernel_height_; }
    int32_t kernel_width() const { return kernel_width_; }
    bool geglu() const { return geglu_; }
    // See sdn_weight_unpack(); either may be nullptr.
    virtual void unpack(void* values, float* bias) const = 0;

  protected:
    // Fills in everything of info() but its bytes.
    Weight(std::shared_ptr<Device> device, const sdn_weight_desc& desc);

    std::shared_ptr<Device> device_;
    sdn_weight_info info_{};
    int32_t kernel_height_ = 1, kernel_width_ = 1;
    bool geglu_ = false;
};

}  // namespace sdn

struct sdn_weight {
    std::unique_ptr<sdn::Weight> weight;
};
