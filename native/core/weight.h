// A weight on a device: immutable, packed once from its logical parts.
#pragma once

#include <memory>

#include "core/device.h"
#include "core/memory.h"
#include "cpu/kernels.h"
#include "sdn.h"

namespace sdn {

class Weight {
  public:
    // desc has been checked by api/weight.cpp.
    Weight(std::shared_ptr<Device> device, const sdn_weight_desc& desc);

    int kind() const { return info_.kind; }
    const sdn_weight_info& info() const { return info_; }
    const Device& device() const { return *device_; }
    void unpack(void* values, float* bias) const;

    const cpu::PackedMatrix& matrix() const { return matrix_; }           // MATRIX, CONV2D
    const cpu::NormWeight& norm() const { return norm_; }                 // NORM
    const cpu::EmbeddingWeight& embedding() const { return embedding_; }  // EMBEDDING

  private:
    void pack_matrix(const sdn_weight_desc& desc);
    void pack_bias(const sdn_weight_desc& desc);
    void copy_norm(const sdn_weight_desc& desc);
    void copy_embedding(const sdn_weight_desc& desc);
    int64_t packed_column(int64_t row) const;

    std::shared_ptr<Device> device_;
    sdn_weight_info info_{};
    Memory values_, bias_;
    cpu::PackedMatrix matrix_;
    cpu::NormWeight norm_;
    cpu::EmbeddingWeight embedding_;
};

}  // namespace sdn

struct sdn_weight : sdn::Weight {
    using sdn::Weight::Weight;
};
