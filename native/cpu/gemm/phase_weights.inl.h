// A 3x3 convolution of an image that nearest neighbour has doubled sees, from a pixel (2y + py, 2x + px), only 2x2 pixels of the image
// itself: each meets the sum of the taps that fall on it. Those sums are the weights of the four phases (py, px), 2x2 convolutions whose
// multiply-adds are 4/9 of the original's.
#pragma once

#include "cpu/gemm/layout.inl.h"

namespace sdn::cpu::SDN_ISA {

// Bytes of one phase of one panel: [2, 2, C, kPanelColumns] floats, bfloat16 where the weight is one of pairs, or halves.
SDN_INLINE int64_t phase_panel_bytes(const PackedMatrix& m) {
    return m.columns / 9 * 4 * kPanelColumns * (m.pairs || m.halves ? 2 : 4);
}

// Writes phase (py, px) of one panel of a 3x3 weight, packed like that of a 2x2 convolution in float32, in
// pairs, or in halves of phase_half_unit() each.
void sum_phase_panel(const PackedMatrix& m, int64_t panel, int64_t py, int64_t px, void* target);

// A sum has up to four taps.
SDN_INLINE float phase_half_unit(const PackedMatrix& m) {
    return 4 * m.half_unit;
}

}  // namespace sdn::cpu::SDN_ISA
