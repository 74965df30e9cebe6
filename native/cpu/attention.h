#pragma once

#include "cpu/kernels.h"

namespace sdn::cpu::SDN_ISA {

void attention(Exec& exec, const sdn_tensor& out, const sdn_tensor& q, const sdn_tensor& k, const sdn_tensor& v,
               const sdn_attention_params& params);

}  // namespace sdn::cpu::SDN_ISA
