#include "cuda/gemm/product.h"

namespace sdn::cuda::SDN_TARGET {

void multiply(Exec& exec, const Product& product) {
    multiply_simt(exec, product);
}

}  // namespace sdn::cuda::SDN_TARGET
