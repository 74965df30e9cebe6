// Computes:  out = activation([x | x2] w^T + bias) + residual
// Shapes:    x [M,K1], x2 [M,K2], w [N,K1+K2], out and residual [M,N] ([M,N/2] with geglu)
// Algorithm: the matrix mainloop of cpu/gemm with its rows read from two tensors.
// Launch:    one parallel index per tile.
#include "cpu/gemm/loaders.inl.h"
#include "cpu/gemm/mainloop.inl.h"
#include "cpu/ops.inl.h"

namespace sdn::cpu::SDN_ISA {

void linear(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const PackedMatrix& weight,
            const sdn_tensor* residual, int32_t activation) {
    const int64_t x_columns = x.shape[x.rank - 1];
    int64_t rows = 1;
    for (int d = 0; d + 1 < x.rank; ++d) rows *= x.shape[d];
    const RowLoader loader{static_cast<const float*>(x.data), x_columns, x2 ? static_cast<const float*>(x2->data) : nullptr,
                           weight.columns - x_columns};
    Epilogue epilogue;
    epilogue.out = static_cast<float*>(out.data);
    epilogue.columns = epilogue.row_floats = out.shape[out.rank - 1];
    epilogue.bias = weight.bias;
    epilogue.residual = residual ? static_cast<const float*>(residual->data) : nullptr;
    epilogue.activation = activation;
    multiply_matrix(exec, loader, rows, weight, epilogue);
}

}  // namespace sdn::cpu::SDN_ISA
