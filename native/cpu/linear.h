#pragma once

#include "cpu/kernels.h"

namespace sdn::cpu::SDN_ISA {

void linear(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const PackedMatrix& weight,
            const sdn_tensor* residual, int32_t activation);

}  // namespace sdn::cpu::SDN_ISA
