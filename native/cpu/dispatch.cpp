// Which instruction sets this build has and this machine can run.
#include <cstring>

#include "core/system_info.h"
#include "cpu/kernels.h"

namespace sdn::cpu {

namespace portable {
extern const Kernels kernels;
}
#if defined(SDN_HAS_avx2)
namespace avx2 {
extern const Kernels kernels;
}
#endif
#if defined(SDN_HAS_avx512)
namespace avx512 {
extern const Kernels kernels;
}
#endif
#if defined(SDN_HAS_avx512bf16)
namespace avx512bf16 {
extern const Kernels kernels;
}
#endif

const Kernels* find_kernels(const char* name) {
    if (std::strcmp(name, "portable") == 0) return &portable::kernels;
#if defined(SDN_HAS_avx2)
    static const bool has_avx2 = cpu_has_avx2();
    if (has_avx2 && std::strcmp(name, "avx2") == 0) return &avx2::kernels;
#endif
#if defined(SDN_HAS_avx512)
    static const bool has_avx512 = cpu_has_avx512();
    if (has_avx512 && std::strcmp(name, "avx512") == 0) return &avx512::kernels;
#endif
#if defined(SDN_HAS_avx512bf16)
    static const bool has_avx512bf16 = cpu_has_avx512bf16();
    if (has_avx512bf16 && std::strcmp(name, "avx512bf16") == 0) return &avx512bf16::kernels;
#endif
    return nullptr;
}

bool can_multiply_halves(const Kernels& kernels) {
    static const bool has_fp16 = cpu_has_avx512fp16();
    return kernels.halves && has_fp16;
}

const Kernels* best_kernels() {
    static const bool pairs_are_fast = cpu_pairs_are_fast();
    for (const char* name : {"avx512bf16", "avx512", "avx2"}) {
        const Kernels* const kernels = find_kernels(name);
        if (kernels != nullptr && (pairs_are_fast || !kernels->pairs)) return kernels;
    }
    return &portable::kernels;
}

}  // namespace sdn::cpu
