#pragma once

#include "cpu/kernels.h"

namespace sdn::cpu::SDN_ISA {

void activation(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, int32_t kind);

}  // namespace sdn::cpu::SDN_ISA
