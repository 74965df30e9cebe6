#pragma once

#include "cpu/kernels.h"

namespace sdn::cpu::SDN_ISA {

void layer_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const NormWeight& weight, float eps);

}  // namespace sdn::cpu::SDN_ISA
