// What every launcher does with a dtype: one call of a function template per floating activation dtype.
#pragma once

#include "cuda/primitives/kernel.h"

namespace sdn::cuda::SDN_TARGET {

// Calls function(T{}) with T the element type of an activation: float, half or bfloat16. api/ lets no other dtype through.
template <class Function>
void with_element_type(int32_t dtype, Function function) {
    if (dtype == SDN_FLOAT16)
        function(half{});
    else if (dtype == SDN_BFLOAT16)
        function(bfloat16{});
    else
        function(float{});
}

// Whether vectors of 16 bytes may begin at an address.
inline bool is_aligned(const void* address) {
    return reinterpret_cast<uintptr_t>(address) % 16 == 0;
}

}  // namespace sdn::cuda::SDN_TARGET
