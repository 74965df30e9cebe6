#include "cpu/gemm/phase_weights.inl.h"

#include "cpu/gemm/pack.inl.h"

namespace sdn::cpu::SDN_ISA {

namespace {

struct Taps {
    int64_t first, last;
};

// Of 3 taps along an axis, those that fall on pixel `i` of the 2 that phase `p` sees: 0 | 1,2 and 0,1 | 2.
SDN_INLINE Taps taps_on(int64_t p, int64_t i) {
    return i == 0 ? Taps{0, p} : Taps{p + 1, 2};
}

template <class Load, class Store>
SDN_INLINE void sum_taps(int64_t values_per_tap, int64_t py, int64_t px, Load load_weight, Store store_sum) {
    int64_t to = 0;
    for (int64_t i = 0; i < 2; ++i) {
        const Taps y = taps_on(py, i);
        for (int64_t j = 0; j < 2; ++j) {
            const Taps x = taps_on(px, j);
            for (int64_t at = 0; at < values_per_tap; at += kLanes) {
                vec total = zero();
                for (int64_t ky = y.first; ky <= y.last; ++ky) {
                    for (int64_t kx = x.first; kx <= x.last; ++kx) total += load_weight((ky * 3 + kx) * values_per_tap + at);
                }
                store_sum(to, total);
                to += kLanes;
            }
        }
    }
}

}  // namespace

void sum_phase_panel(const PackedMatrix& m, int64_t panel, int64_t py, int64_t px, void* target) {
    // A tap has an even number of rows where there are pairs, so the sums of pairs are pairs of sums.
    const int64_t values_per_tap = m.columns / 9 * kPanelColumns;
    const void* const stored = stored_panel_block(m, panel, 0);
    const float* const wide = static_cast<const float*>(stored);
    const uint16_t* const narrow = static_cast<const uint16_t*>(stored);
    const auto store_sum = [=](int64_t i, vec sum) {
#if defined(SDN_MULTIPLIES_HALVES)
        if (m.halves) return store_float16(static_cast<uint16_t*>(target) + i, sum * broadcast(1 / phase_half_unit(m)));
#endif
        store(static_cast<float*>(target) + i, sum);
    };
#if defined(SDN_MULTIPLIES_PAIRS)
    if (m.pairs)
        return sum_taps(
            values_per_tap, py, px, [=](int64_t i) { return load_bfloat16(narrow + i); },
            [=](int64_t i, vec sum) { store_bfloat16(static_cast<uint16_t*>(target) + i, sum); });
#endif
    if (m.storage == SDN_FLOAT32)
        sum_taps(
            values_per_tap, py, px, [=](int64_t i) { return load(wide + i); }, store_sum);
    else if (m.storage == SDN_FLOAT16)
        sum_taps(
            values_per_tap, py, px, [=](int64_t i) { return load_float16(narrow + i); }, store_sum);
    else
        sum_taps(
            values_per_tap, py, px, [=](int64_t i) { return load_bfloat16(narrow + i); }, store_sum);
}

}  // namespace sdn::cpu::SDN_ISA
