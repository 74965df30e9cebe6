#pragma once

#include "cpu/kernels.h"

namespace sdn::cpu::SDN_ISA {

void group_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const NormWeight& weight, int32_t groups,
                float eps, int32_t activation);

}  // namespace sdn::cpu::SDN_ISA
