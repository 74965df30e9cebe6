// What a kernel file of any backend may see of the exec it runs in. Plain C++ without standard templates: see cpu/kernel_api.h.
#pragma once

#include <cstdint>

#include "sdn.h"

namespace sdn {

struct Exec;  // core/exec.h

// Arena scratch of one op, 64-byte aligned. Taken in measure mode too (the address is then a stand-in), so that the peak includes it.
void* exec_scratch(Exec& exec, int64_t bytes);
void exec_release(Exec& exec, void* scratch);
bool exec_measuring(const Exec& exec);

}  // namespace sdn
