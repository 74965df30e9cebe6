// Tensor cores, sm_80. All 32 threads of a warp take part. Fragment layouts as the PTX manual gives them for mma.m16n8k16; with
// g = lane / 4 and t = lane % 4:
//     a (16 x 16, row-major):    a[0] = (g, 2t..2t+1)  a[1] = (g+8, 2t..)  a[2] = (g, 2t+8..)  a[3] = (g+8, 2t+8..)
//     b (16 x 8, column-major):  b[0] = (2t..2t+1, g)  b[1] = (2t+8.., g)
//     d (16 x 8):                d[0..1] = (g, 2t..2t+1)  d[2..3] = (g+8, 2t..2t+1)
// mma.m16n8k8 takes the first half of a and b: a[0], a[1], b[0].
#pragma once

#include "cuda/primitives/shared.h"
#if defined(SDN_EMULATION)
#include "cuda/emulation/mma_view.h"
#endif

namespace sdn::cuda::SDN_TARGET {

#if !defined(SDN_EMULATION)

// d += a * b, for T = half or bfloat16, summed in float.
template <class T>
SDN_DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (std::is_same_v<T, half>)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <class T>
SDN_DEVICE void mma_m16n8k8(float (&d)[4], const uint32_t (&a)[2], uint32_t b) {
    if constexpr (std::is_same_v<T, half>)
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(b));
    else
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(b));
}

// Loads Count (1, 2 or 4) 8x8 matrices of 16-bit elements. Thread 8i + j gives the address of row j of matrix i (16 bytes, 16-byte
// aligned; with fewer than 4 matrices the other threads' addresses are not used, but must be valid). Thread 4r + c gets elements
// (r, 2c) and (r, 2c+1) of each matrix; with Transposed those of its transpose.
template <bool Transposed, int Count, class T>
SDN_DEVICE void load_matrices(uint32_t (&r)[Count], Shared<T> row) {
    static_assert(Count == 1 || Count == 2 || Count == 4, "ldmatrix loads 1, 2 or 4 matrices");
    if constexpr (Count == 4 && Transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(row.address()));
    else if constexpr (Count == 4)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(row.address()));
    else if constexpr (Count == 2 && Transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(row.address()));
    else if constexpr (Count == 2)
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(row.address()));
    else if constexpr (Transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(row.address()));
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(row.address()));
}

#else

// The same product with zeros in the second half.
template <class T>
SDN_DEVICE void mma_m16n8k8(float (&d)[4], const uint32_t (&a)[2], uint32_t b) {
    const uint32_t wide_a[4] = {a[0], a[1], 0, 0}, wide_b[2] = {b, 0};
    mma_m16n8k16<T>(d, wide_a, wide_b);
}

#endif

}  // namespace sdn::cuda::SDN_TARGET
