#pragma once

#include "cpu/kernel_api.h"

namespace sdn::cpu::SDN_ISA {

constexpr int panel_width = 16;

void pack_rows(const PackedMatrix& m, const void* source, int32_t source_dtype, int64_t first_row, int64_t row_count);
void unpack(const PackedMatrix& m, void* values);

}  // namespace sdn::cpu::SDN_ISA
