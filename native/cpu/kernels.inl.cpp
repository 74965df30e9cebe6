// The table of one instruction set.
#include "cpu/ops.inl.h"
#include "cpu/simd/peak.inl.h"

namespace sdn::cpu::SDN_ISA {

extern const Kernels kernels;
const Kernels kernels = {SDN_ISA_NAME, panel_width,  multiplies_pairs, multiplies_bytes, multiplies_halves, pack_rows,
                         unpack,       scale_blocks, conv2d,           linear,           attention,         group_norm,
                         layer_norm,   activation,   peak_loop,        peak_narrow};

}  // namespace sdn::cpu::SDN_ISA
