// A weight on a GPU, packed there by cuda/pack.cu.
#pragma once

#include "core/weight.h"
#include "cuda/device.h"

namespace sdn::cuda {

class Weight final : public sdn::Weight {
  public:
    Weight(std::shared_ptr<Device> device, const sdn_weight_desc& desc);

    void unpack(void* values, float* bias) const override;

    const MatrixWeight& matrix() const { return matrix_; }           // MATRIX, CONV2D
    const NormWeight& norm() const { return norm_; }                 // NORM
    const EmbeddingWeight& embedding() const { return embedding_; }  // EMBEDDING

  private:
    void pack_matrix(Staging::Loan& loan, const sdn_weight_desc& desc);
    void pack_bias(Staging::Loan& loan, const sdn_weight_desc& desc);
    void copy_norm(Staging::Loan& loan, const sdn_weight_desc& desc);
    void copy_embedding(Staging::Loan& loan, const sdn_weight_desc& desc);
    std::shared_ptr<void> take(int64_t bytes, const char* purpose);
    void send_converted(Staging::Loan& loan, void* target, int32_t dtype, const sdn_tensor& source);

    Device& gpu_;
    std::shared_ptr<void> values_, bias_, phases_;
    MatrixWeight matrix_;
    NormWeight norm_;
    EmbeddingWeight embedding_;
};

}  // namespace sdn::cuda
