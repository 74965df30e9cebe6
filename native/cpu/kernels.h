// The table of one instruction set's kernels. cpu/kernels.inl.cpp is compiled once per instruction set and fills it in; cpu/dispatch.cpp
// picks one. Shapes and dtypes have been checked by api/ when a kernel is called. A kernel takes its scratch, returns if the exec measures,
// then runs.
#pragma once

#include "cpu/kernel_api.h"

namespace sdn::cpu {

struct NormWeight {  // SDN_WEIGHT_NORM
    const float* scale = nullptr;
    const float* shift = nullptr;
    int64_t channels = 0;
};

struct EmbeddingWeight {  // SDN_WEIGHT_EMBEDDING, row-major in `storage`
    const void* data = nullptr;
    int32_t storage = SDN_FLOAT32;
    int64_t rows = 0, columns = 0;
};

struct Kernels {
    const char* name;     // "portable", "avx2", "avx512", "avx512bf16"
    int32_t panel_width;  // of PackedMatrix
    bool pairs;           // whether it multiplies PackedMatrix::pairs
    bool bytes;           // whether it multiplies weights in SDN_INT8, on machines with AVX512_VNNI
    bool halves;          // whether it multiplies PackedMatrix::halves, on machines with AVX512_FP16

    // Packs output rows [first_row, first_row + row_count) of the logical weight into m.data. source: row-major [row_count, in] or
    // [row_count, in, kh, kw] of source_dtype. Rows of a geglu weight are numbered values first, then gates.
    void (*pack_rows)(const PackedMatrix& m, const void* source, int32_t source_dtype, int64_t first_row, int64_t row_count);
    // The inverse, for all rows, into values (in m.storage; those of SDN_INT8 in float32).
    void (*unpack)(const PackedMatrix& m, void* values);
    // Blocks of K that each have their scale in SDN_INT8.
    int64_t (*scale_blocks)(int64_t columns);

    void (*conv2d)(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const PackedMatrix& weight, const sdn_tensor* channel_add,
                   const sdn_tensor* residual, const sdn_conv2d_params& params);
    void (*linear)(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const PackedMatrix& weight,
                   const sdn_tensor* residual, int32_t activation);
    void (*attention)(Exec& exec, const sdn_tensor& out, const sdn_tensor& q, const sdn_tensor& k, const sdn_tensor& v,
                      const sdn_attention_params& params, int32_t operands);

    void (*group_norm)(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const NormWeight& weight,
                       int32_t groups, float eps, int32_t activation);
    void (*layer_norm)(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const NormWeight& weight, float eps);
    void (*activation)(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, int32_t kind);

    // Runs about `multiply_adds` independent vector multiply-adds in registers; returns the operations done. peak_narrow: of pairs of
    // bfloat16 or of halves, nullptr where it has neither.
    double (*peak_loop)(int64_t multiply_adds);
    double (*peak_narrow)(int64_t multiply_adds);
};

// The kernels of an instruction set by name, or nullptr where this build or machine lacks it.
const Kernels* find_kernels(const char* name);
// Whether the set multiplies halves and this machine can.
bool can_multiply_halves(const Kernels& kernels);
// The best set of this machine: avx512bf16 only where pairs are faster than float32.
const Kernels* best_kernels();

}  // namespace sdn::cpu
