// Computes:  epilogue(x[M,K] * w[N,K]^T), x being what a loader yields.
// Shapes:    tiles of rows x panels; inside, blocks of K.
// Algorithm: a tile copies a block of x [tile rows, depth] into its thread's scratch, then multiplies it with the same block of one panel
//            after another, kMicroRows rows at a time. Sums of the K blocks so far wait in the thread's scratch.
// Launch:    one parallel index per tile. The result does not depend on the tiles: see depth_blocks().
#pragma once

#include "cpu/gemm/bytes.inl.h"
#include "cpu/gemm/epilogue.inl.h"
#include "cpu/gemm/halves.inl.h"
#include "cpu/gemm/microkernel.inl.h"
#include "cpu/gemm/pack.inl.h"
#include "cpu/gemm/tiling.inl.h"

namespace sdn::cpu::SDN_ISA {

template <class Loader>
struct MatrixProduct {
    const Loader& loader;
    const PackedMatrix& weight;
    const Epilogue& epilogue;
    int64_t rows;
    Tiling tiling;
    TileScratch scratch;
    char* memory;

    // Tile `index`: rows vary fastest, so that threads at work at the same time share the weights.
    static void run_tile(void* context, int64_t index, int thread) {
        const MatrixProduct& p = *static_cast<const MatrixProduct*>(context);
        const int64_t i = index % p.tiling.row_tiles, j = index / p.tiling.row_tiles;
        const int64_t row = p.rows * i / p.tiling.row_tiles, row_end = p.rows * (i + 1) / p.tiling.row_tiles;
        const int64_t panel = p.weight.panel_count * j / p.tiling.panel_tiles,
                      panel_end = p.weight.panel_count * (j + 1) / p.tiling.panel_tiles;
        char* const thread_memory = p.memory + thread * p.scratch.total_bytes();
#if defined(SDN_MULTIPLIES_PAIRS)
        if (p.weight.pairs) return p.template multiply<uint32_t>(row, row_end - row, panel, panel_end - panel, thread_memory);
#endif
#if defined(SDN_MULTIPLIES_BYTES)
        if (p.weight.storage == SDN_INT8) return p.template multiply<Bytes>(row, row_end - row, panel, panel_end - panel, thread_memory);
#endif
#if defined(SDN_MULTIPLIES_HALVES)
        if (p.weight.halves) return p.template multiply<Half>(row, row_end - row, panel, panel_end - panel, thread_memory);
#endif
        p.template multiply<float>(row, row_end - row, panel, panel_end - panel, thread_memory);
    }

    template <class Element>
    void multiply(int64_t row, int64_t row_count, int64_t panel, int64_t panel_count, char* thread_memory) const {
        Element* const block = reinterpret_cast<Element*>(thread_memory);
        float* const staging = reinterpret_cast<float*>(thread_memory + scratch.block_bytes);
        float* const row_scales = reinterpret_cast<float*>(thread_memory + scratch.block_bytes + scratch.staging_bytes);
        float* const sums = reinterpret_cast<float*>(thread_memory + scratch.block_bytes + scratch.staging_bytes + scratch.scales_bytes);
        const int64_t all_steps = steps_of(weight);
        const DepthBlocks blocks = depth_blocks(all_steps);
        for (int64_t b = 0; b < blocks.count; ++b) {
            const int64_t k = b * blocks.depth;
            const int64_t steps = min_of(blocks.depth, all_steps - k);
            const bool last = b + 1 == blocks.count;
            load_block(row, row_count, k, steps, block, staging, row_scales);
            for (int64_t p = 0; p < panel_count; ++p) {
                const Element* const w = weight_block(panel + p, k, steps, staging, block);
                const void* const next =
                    static_cast<const char*>(p + 1 < panel_count ? stored_panel_block(weight, panel + p + 1, k)
                                                                 : stored_panel_block(weight, panel, last ? k : k + steps));
                float* const panel_sums = sums + (blocks.count > 1 ? p * row_count * kPanelColumns : 0);
                multiply_panel(block, w, steps, b, last, panel_sums, row, row_count, panel + p, row_scales,
                               Upcoming::spread(next, steps * bytes_of_step(weight), ceil_div(row_count, rows_at_once(block)) * steps));
            }
        }
    }

  private:
    // Steps [k, k + steps) of x, as elements. The last parameter of weight_block() only tells which elements.
    void load_block(int64_t row, int64_t row_count, int64_t k, int64_t steps, float* block, float*, float*) const {
        loader.load(row, row_count, k, steps, block, kRowStride);
    }
    const float* weight_block(int64_t panel, int64_t k, int64_t steps, float* staging, const float*) const {
        return panel_block(weight, panel, k, steps, staging);
    }
#if defined(SDN_MULTIPLIES_PAIRS)
    void load_block(int64_t row, int64_t row_count, int64_t k, int64_t steps, uint32_t* block, float* staging, float*) const {
        for (int64_t first = 0; first < row_count; first += kStagedRows) {
            const int64_t count = min_of(kStagedRows, row_count - first);
            loader.load(row + first, count, 2 * k, 2 * steps, staging, 2 * kRowStride);
            for (int64_t r = 0; r < count; ++r) {
                // Whole vectors: a row of either has room for them.
                const float* const source = staging + r * 2 * kRowStride;
                uint32_t* const target = block + (first + r) * kRowStride;
                for (int64_t i = 0; i < steps; i += kLanes / 2) store_bfloat16(target + i, load(source + 2 * i));
            }
        }
    }
    const uint32_t* weight_block(int64_t panel, int64_t k, int64_t, float*, const uint32_t*) const {
        return static_cast<const uint32_t*>(stored_panel_block(weight, panel, k));
    }
#endif
#if defined(SDN_MULTIPLIES_BYTES)
    void load_block(int64_t row, int64_t row_count, int64_t k, int64_t steps, Bytes* block, float* staging, float* row_scales) const {
        for (int64_t first = 0; first < row_count; first += kStagedByteRows) {
            const int64_t count = min_of(kStagedByteRows, row_count - first);
            loader.load(row + first, count, 4 * k, 4 * steps, staging, 4 * kRowStride);
            for (int64_t r = 0; r < count; ++r)
                row_scales[first + r] = round_to_bytes(staging + r * 4 * kRowStride, 4 * steps, block + (first + r) * kRowStride);
        }
    }
    const Bytes* weight_block(int64_t panel, int64_t k, int64_t, float*, const Bytes*) const {
        return static_cast<const Bytes*>(stored_panel_block(weight, panel, k));
    }
    void multiply_rows_of(int64_t rows, int64_t width, const Bytes* a, const Bytes* b, int64_t steps, int64_t block_index, int64_t panel,
                          const float* row_scales, float* c, Upcoming upcoming) const {
        const int64_t at = scale_index(weight, panel, block_index);
        const ByteScales scales{row_scales, weight.scales + at, weight.sums + at};
        multiply_byte_tile(rows, width, a, b, steps, scales, c, kPanelColumns, block_index > 0, upcoming);
    }
#endif
#if defined(SDN_MULTIPLIES_HALVES)
    void load_block(int64_t row, int64_t row_count, int64_t k, int64_t steps, Half* block, float* staging, float* row_scales) const {
        const int32_t exponent = row_exponent(weight.half_exponent);
        for (int64_t first = 0; first < row_count; first += kStagedRows) {
            const int64_t count = min_of(kStagedRows, row_count - first);
            loader.load(row + first, count, k, steps, staging, kRowStride);
            for (int64_t r = 0; r < count; ++r)
                row_scales[first + r] =
                    weight.half_unit * round_to_halves(staging + r * kRowStride, steps, exponent, block + (first + r) * kRowStride);
        }
    }
    const Half* weight_block(int64_t panel, int64_t k, int64_t steps, float* staging, const Half*) const {
        return static_cast<const Half*>(half_panel_block(weight, panel, k, steps, staging));
    }
    void multiply_rows_of(int64_t rows, int64_t, const Half* a, const Half* b, int64_t steps, int64_t block_index, int64_t,
                          const float* row_scales, float* c, Upcoming upcoming) const {
        multiply_halves(rows, a, b, steps, chain_of(steps, kLongestChain), row_scales, c, kPanelColumns, block_index > 0, upcoming);
    }
#endif
    template <class Element>
    void multiply_rows_of(int64_t rows, int64_t width, const Element* a, const Element* b, int64_t steps, int64_t block_index, int64_t,
                          const float*, float* c, Upcoming upcoming) const {
        multiply_tile(rows, width, a, b, steps, c, kPanelColumns, block_index > 0, upcoming);
    }

    template <class Element>
    void multiply_panel(const Element* block, const Element* w, int64_t steps, int64_t block_index, bool last, float* panel_sums,
                        int64_t row, int64_t row_count, int64_t panel, const float* row_scales, Upcoming upcoming) const {
        const int64_t width = epilogue.activation == SDN_ACTIVATION_GEGLU ? kPanelColumns : weight.rows - panel * kPanelColumns;
        for (int64_t r = 0; r < row_count; r += rows_at_once(block)) {
            const int64_t count = min_of(rows_at_once(block), row_count - r);
            float* const c = panel_sums + (scratch.keeps_sums ? r * kPanelColumns : 0);
            if (last)
                epilogue.fetch(row + r, count, panel);
            else
                prefetch_floats(c, count * kPanelColumns);
            multiply_rows_of(count, width, block + r * kRowStride, w, steps, block_index, panel, row_scales + r, c, upcoming);
            upcoming.skip(steps);
            if (last) epilogue.apply(c, kPanelColumns, row + r, count, panel);
        }
    }
};

template <class Loader>
void multiply_matrix(Exec& exec, const Loader& loader, int64_t rows, const PackedMatrix& weight, const Epilogue& epilogue) {
    const int threads = exec_threads(exec);
    const Tiling tiling = choose_tiling(rows, weight, threads);
    const TileScratch scratch = tile_scratch(rows, weight, tiling);
    char* const memory = static_cast<char*>(exec_scratch(exec, scratch.total_bytes() * threads));
    if (!exec_measuring(exec)) {
        MatrixProduct<Loader> product{loader, weight, epilogue, rows, tiling, scratch, memory};
        exec_parallel_for(exec, tiling.row_tiles * tiling.panel_tiles, MatrixProduct<Loader>::run_tile, &product);
    }
    exec_release(exec, memory);
}

}  // namespace sdn::cpu::SDN_ISA
