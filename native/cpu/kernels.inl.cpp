// The table of one instruction set.
#include "cpu/kernels.h"

#include "cpu/activation.h"
#include "cpu/attention.h"
#include "cpu/conv2d.h"
#include "cpu/gemm/pack.h"
#include "cpu/group_norm.h"
#include "cpu/layer_norm.h"
#include "cpu/linear.h"
#include "cpu/simd/peak.inl.h"

namespace sdn::cpu::SDN_ISA {

extern const Kernels kernels;
const Kernels kernels = {SDN_ISA_NAME, panel_width, pack_rows,  unpack,     conv2d,   linear,
                         attention,    group_norm,  layer_norm, activation, peak_loop};

}  // namespace sdn::cpu::SDN_ISA
