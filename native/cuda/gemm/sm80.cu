// The host's side of the tensor-core mainloop: which products it takes, its tile, its scratch and its name.
#include "cuda/gemm/sm80.h"

#include <cstdio>

#include "cuda/tuning/tiles.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int64_t kMostElements = int64_t{8} * UINT32_MAX;  // chunks of 8 are counted in 32 bits,
constexpr int64_t kMostTiles = INT32_MAX;                   // and so are tiles
constexpr int kGatherStages = 2;

int64_t elements_of(const Source& s, int64_t m) {
    const int64_t images = m / (int64_t{s.out_height} * s.out_width);
    return max_of(images * s.height * s.width * s.channels, m * s.channels2);
}

bool fits(const Product& p) {
    const bool narrow = p.source.dtype != SDN_FLOAT32 && p.source.dtype == p.weight_dtype && p.source.dtype == p.epilogue.dtype;
    return narrow && p.weight_stride % 8 == 0 && on_16_bytes(p.weight) && elements_of(p.source, p.m) < kMostElements &&
           p.phases * p.n * p.weight_stride < kMostElements && ceil_div<int64_t>(p.m, 64) * ceil_div<int64_t>(p.n, 64) < kMostTiles;
}

const char* loader_name(const Product& p, bool gather) {
    if (gather) return "gather";
    if (p.phases > 1) return "phases";
    if (p.source.x2 != nullptr) return "two_source";
    return p.source.taps() == 1 && p.source.out_width == 1 ? "rows" : "im2col";
}

struct Name {
    char text[96];
};
Name name_of(const tuning::TileChoice& tile, const char* loader, int splits) {
    Name name;
    char split[24] = "";
    if (splits > 1) std::snprintf(split, sizeof split, "_split%d", splits);
    std::snprintf(name.text, sizeof name.text, "sm80_gemm_%dx%dx%d%s%s_%s", tile.m, tile.n, tuning::kDepth,
                  tile.slices > 1 ? "_sliced" : "", split, loader);
    return name;
}

}  // namespace

bool multiply_sm80(Exec& exec, const Product& product) {
    if (!fits(product)) return false;
    const Source& s = product.source;
    Queue& queue = exec_queue(exec);
    // Scratch may depend on shapes only, not on where tensors lie: those off 16 bytes keep the split and change the loader.
    const bool whole_chunks = s.channels % 8 == 0 && s.channels2 % 8 == 0;
    tuning::Plan plan;
    plan.depths_per_split = static_cast<int32_t>(ceil_div<int64_t>(product.k, tuning::kDepth));
    if (whole_chunks) plan = tuning::choose_tile(product.m, product.n, product.k, product.phases, queue.limits);

    TensorProduct t;
    t.p = product;
    t.splits = plan.splits;
    t.depths_per_split = plan.depths_per_split;
    t.stages = plan.stages;
    t.weight_chunks = static_cast<uint32_t>(product.weight_stride / 8);
    t.partial_stride = ceil_div<int64_t>(product.n, 8) * 8;
    if (t.splits > 1) t.partials = static_cast<float*>(exec_scratch(exec, t.splits * product.phases * product.m * t.partial_stride * 4));
    if (!exec_measuring(exec)) {
        const Epilogue& e = product.epilogue;
        t.p.epilogue.vectors =
            e.columns % 8 == 0 && on_16_bytes(e.out) && on_16_bytes(e.residual) && on_16_bytes(e.channel_add) && on_16_bytes(e.bias);
        const bool gather = !whole_chunks || !on_16_bytes(s.x) || !on_16_bytes(s.x2);
        if (gather) plan.tile = tuning::kTile128x64, t.stages = kGatherStages;
        const bool is_half = s.dtype == SDN_FLOAT16;
        const Name name = name_of(tuning::kTiles[plan.tile], loader_name(product, gather), t.splits);
        (is_half ? launch_sm80_float16 : launch_sm80_bfloat16)(queue, name.text, plan.tile, gather, t);
        if (t.splits > 1) (is_half ? launch_split_sum_float16 : launch_split_sum_bfloat16)(queue, "sm80_split_sum", t);
    }
    if (t.splits > 1) exec_release(exec, t.partials);
    return true;
}

}  // namespace sdn::cuda::SDN_TARGET
