// A 3x3 convolution of stride 1 with 36 multiplications in place of 144 for each tile of 4x4 outputs and each channel: see winograd.cpp.
#pragma once

#include "cpu/gemm/epilogue.inl.h"
#include "cpu/gemm/loaders.inl.h"

namespace sdn::cpu::SDN_ISA {

// Whether it may be used (the weight is SDN_PRECISION_FAST) and is worth it: transforming the weights, which is done anew in each call,
// must be little beside the products.
bool winograd_pays(const ConvolutionLoader& image, int64_t batch, const PackedMatrix& weight);

void conv2d_winograd(Exec& exec, const ConvolutionLoader& image, int64_t batch, const PackedMatrix& weight, const Epilogue& epilogue);

}  // namespace sdn::cpu::SDN_ISA
