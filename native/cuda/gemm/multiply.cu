// The choice of a mainloop, by shapes and dtypes alone: what an exec measures is what it runs.
#include "cuda/gemm/product.h"

namespace sdn::cuda::SDN_TARGET {

void multiply(Exec& exec, const Product& product) {
    if (multiply_few_rows(exec, product) || multiply_few_columns(exec, product) || multiply_sm80(exec, product)) return;
    multiply_simt(exec, product);
}

}  // namespace sdn::cuda::SDN_TARGET
