// A weight packed for the kernels of one instruction set.
#pragma once

#include "core/memory.h"
#include "core/weight.h"
#include "cpu/kernels.h"

namespace sdn::cpu {

class Weight final : public sdn::Weight {
  public:
    // fast: for SDN_PRECISION_FAST.
    Weight(std::shared_ptr<sdn::Device> device, const Kernels& kernels, bool fast, const sdn_weight_desc& desc);

    void unpack(void* values, float* bias) const override;

    const PackedMatrix& matrix() const { return matrix_; }           // MATRIX, CONV2D
    const NormWeight& norm() const { return norm_; }                 // NORM
    const EmbeddingWeight& embedding() const { return embedding_; }  // EMBEDDING

  private:
    void pack_matrix(const sdn_weight_desc& desc);
    void take_scales();
    void choose_halves();
    void pack_bias(const sdn_weight_desc& desc);
    void copy_norm(const sdn_weight_desc& desc);
    void copy_embedding(const sdn_weight_desc& desc);
    int64_t packed_column(int64_t row) const;

    const Kernels& kernels_;
    Memory values_, bias_, scales_;
    PackedMatrix matrix_;
    NormWeight norm_;
    EmbeddingWeight embedding_;
};

}  // namespace sdn::cpu
