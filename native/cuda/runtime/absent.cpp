// The backends that this build lacks.
#include "cuda/runtime/runtime.h"

namespace sdn::cuda {

#if !defined(SDN_HAS_CUDA)
Runtime* gpu_runtime(std::string& absence) {
    absence = gpu_build_text();
    return nullptr;
}
const char* gpu_build_text() {
    return "this library was built without CUDA: " SDN_CUDA_ABSENCE;
}
#endif

#if !defined(SDN_HAS_EMULATION)
Runtime* emulated_runtime() {
    return nullptr;
}
#endif

}  // namespace sdn::cuda
