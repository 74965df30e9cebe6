// Computes:  out = activation([x | x2] w^T + bias) + residual
// Shapes:    x [M,K1], x2 [M,K2], w [N,K1+K2], out and residual [M,N] ([M,N/2] with geglu)
// Algorithm: a product of cuda/gemm whose image has one pixel per row.
// Launch:    see the mainloop that multiply() chooses.
#include "cuda/gemm/product.h"
#include "cuda/launchers.h"

namespace sdn::cuda::SDN_TARGET {

void linear(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const MatrixWeight& weight,
            const sdn_tensor* residual, int32_t activation) {
    Product p;
    p.m = 1;
    for (int d = 0; d + 1 < x.rank; ++d) p.m *= x.shape[d];
    p.n = weight.rows;
    p.k = weight.columns;
    p.weight = weight.data;
    p.weight_stride = weight.row_stride;
    p.weight_dtype = weight.storage;

    p.source.x = x.data;
    p.source.channels = static_cast<int32_t>(x.shape[x.rank - 1]);
    p.source.dtype = x.dtype;
    if (x2 != nullptr) {
        p.source.x2 = x2->data;
        p.source.channels2 = static_cast<int32_t>(x2->shape[x2->rank - 1]);
    }

    p.epilogue.out = out.data;
    p.epilogue.residual = residual != nullptr ? residual->data : nullptr;
    p.epilogue.bias = weight.bias;
    p.epilogue.columns = out.shape[out.rank - 1];
    p.epilogue.activation = activation;
    p.epilogue.dtype = out.dtype;
    multiply(exec, p);
}

}  // namespace sdn::cuda::SDN_TARGET
