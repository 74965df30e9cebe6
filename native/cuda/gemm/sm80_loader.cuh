// Brings the stages of a tile from global to shared memory: rows of A and of the weight, 64 elements (128 bytes) each, the 16-byte chunks
// of a row exchanged by its number so that neither these writes nor ldmatrix meet a bank twice.
#pragma once

#include "cuda/gemm/sm80_tile.cuh"
#include "cuda/gemm/source.cuh"

namespace sdn::cuda::SDN_TARGET {

constexpr uint32_t kNowhere = 0xffffffffu;

// The element at which chunk `chunk` of row `row` lies in a stage's matrix.
SDN_DEVICE int swizzled(int row, int chunk) {
    return row * kDepth + ((chunk ^ (row & 7)) * 8);
}

// All chunks of a tensor are counted in 32 bits: multiply_sm80() sees to that.
template <class T>
SDN_DEVICE const T* chunk_at(const T* data, uint32_t chunk) {
    return reinterpret_cast<const T*>(reinterpret_cast<const char*>(data) + uint64_t{chunk} * 16);
}

// A thread loads one chunk column of every kLines-th row. The copies of a stage are numbered, so that the mainloop can spread them.
template <class T, class Tile>
class Loader {
  public:
    static constexpr int kLines = Tile::Threads / kLineChunks;
    static constexpr int kCopiesOfA = Tile::M / kLines, kCopiesOfB = Tile::N / kLines;
    static constexpr int kCopies = kCopiesOfA + kCopiesOfB;
    static_assert(Tile::M % kLines == 0 && Tile::N % kLines == 0 && kLines % 8 == 0);

    SDN_DEVICE Loader(const TensorProduct& t, const TilePlace& tile, Shared<int32_t> places, int phase, int32_t first_depth)
        : t_(t), places_(places) {
        const int column = thread_index() % kLineChunks;
        target_ = swizzled(line(), column);
        chunk_of_b_ = static_cast<uint32_t>(first_depth * kLineChunks + column);
        lines_of_b_ = static_cast<int32_t>(min_of<int64_t>(Tile::N, t.p.n - tile.column)) - line();
        at_b_ = static_cast<uint32_t>(phase * t.p.n + tile.column + line()) * t.weight_chunks + chunk_of_b_;
        const Column start = column_of(t.p.source, int64_t{chunk_of_b_} * 8);
        segment_ = start.segment;
        chunk_ = static_cast<uint32_t>(start.channel) / 8;
        enter_segment();
    }

    // Copy number `I` of the current stage into `stage`, all of them in order; zeros if not `wanted`. Where nothing is read the address
    // does not matter.
    template <int I>
    SDN_DEVICE void copy(Shared<T> stage, bool wanted) {
        if constexpr (I < kCopiesOfA) {
            copy_async<16>(stage + (target_ + I * kLines * kDepth), chunk_at(source(), at_[I] + chunk_), wanted & (at_[I] != kNowhere));
        } else {
            constexpr int kLine = (I - kCopiesOfA) * kLines;
            if constexpr (kLine == 0) line_of_b_ = at_b_;
            const bool valid = (kLine < lines_of_b_) & (chunk_of_b_ < t_.weight_chunks);  // rows end with zeros
            copy_async<16>(stage + (Tile::M * kDepth + target_ + kLine * kDepth), chunk_at(static_cast<const T*>(t_.p.weight), line_of_b_),
                           wanted & valid);
            line_of_b_ += kLines * t_.weight_chunks;  // step by step: fewer registers than an address per line
        }
    }

    // On to the next stage.
    SDN_DEVICE void advance() {
        chunk_of_b_ += kLineChunks;
        at_b_ += kLineChunks;
        chunk_ += kLineChunks;
        if (chunk_ < chunks_ || segment_ >= segments()) return;
        do {
            chunk_ -= chunks_;
            ++segment_;
            chunks_ = static_cast<uint32_t>(channels()) / 8;
        } while (chunk_ >= chunks_ && segment_ < segments());
        enter_segment();
    }

  private:
    SDN_DEVICE static int32_t line() { return thread_index() / kLineChunks; }
    SDN_DEVICE int32_t segments() const { return t_.p.source.taps() + (t_.p.source.x2 != nullptr ? 1 : 0); }
    SDN_DEVICE const T* source() const {
        const Source& s = t_.p.source;
        return static_cast<const T*>(segment_ >= s.taps() && s.x2 != nullptr ? s.x2 : s.x);
    }
    SDN_DEVICE int32_t channels() const { return segment_ < t_.p.source.taps() ? t_.p.source.channels : t_.p.source.channels2; }

    // Finds the pixels under the segment.
    SDN_DEVICE void enter_segment() {
        const Source& s = t_.p.source;
        chunks_ = static_cast<uint32_t>(channels()) / 8;
        // The first stage may begin past the last channel of x2, of which column_of() knows no end.
        const bool past_end = (segment_ >= segments()) | (chunk_ >= chunks_);
        SDN_UNROLL
        for (int i = 0; i < kCopiesOfA; ++i) {
            const int32_t pixel = segment_pixel(s, places_.template read<4>(4 * (line() + i * kLines)), segment_);
            at_[i] = past_end | (pixel < 0) ? kNowhere : static_cast<uint32_t>(pixel) * chunks_;
        }
    }

    const TensorProduct& t_;
    Shared<int32_t> places_;
    const T* x_;               // of the segment
    uint32_t at_[kCopiesOfA];  // the chunk at which the pixel of a row begins
    uint32_t chunk_, chunks_;  // of the segment: the current one, and how many
    uint32_t at_b_, line_of_b_ = 0, chunk_of_b_;
    int32_t segment_, target_, lines_of_b_;
};

// For channels that are not multiples of 8, seams within a chunk, and addresses off 16 bytes: A is gathered element by element.
template <class T, class Tile>
class GatherLoader {
  public:
    static constexpr int kLines = Tile::Threads / kLineChunks;
    static constexpr int kCopiesOfA = Tile::M / kLines, kCopiesOfB = Tile::N / kLines;
    static constexpr int kCopies = 1;

    SDN_DEVICE GatherLoader(const TensorProduct& t, const TilePlace& tile, Shared<int32_t> places, int phase, int32_t first_depth)
        : t_(t), places_(places), line_(thread_index() / kLineChunks) {
        k_ = int64_t{first_depth} * kDepth + thread_index() % kLineChunks * 8;
        lines_of_b_ = static_cast<int32_t>(min_of<int64_t>(Tile::N, t.p.n - tile.column)) - line_;
        b_ = static_cast<const T*>(t.p.weight) + (phase * t.p.n + tile.column + line_) * t.p.weight_stride;
    }

    template <int I>
    SDN_DEVICE void copy(Shared<T> stage, bool wanted) const {
        if (!wanted) return;
        const int target = swizzled(line_, thread_index() % kLineChunks);
        SDN_NO_UNROLL
        for (int i = 0; i < kCopiesOfA; ++i) {
            const StoredRowPlace place = places_.template read<4>(4 * (line_ + i * kLines));
            Vec<T, 8> values;
            SDN_UNROLL
            for (int j = 0; j < 8; ++j) values[j] = element(place, k_ + j);
            stage.template write<8>(target + i * kLines * kDepth, values);
        }
        SDN_UNROLL
        for (int i = 0; i < kCopiesOfB; ++i) {
            const bool valid = i * kLines < lines_of_b_ && k_ < t_.p.weight_stride;  // rows end with zeros
            copy_async<16>(stage + (Tile::M * kDepth + target + i * kLines * kDepth), b_ + i * kLines * t_.p.weight_stride + k_, valid);
        }
    }

    SDN_DEVICE void advance() { k_ += kDepth; }

  private:
    SDN_DEVICE T element(const StoredRowPlace& place, int64_t k) const {
        const Source& s = t_.p.source;
        if (k >= t_.p.k) return from_float<T>(0.0f);
        const Column from = column_of(s, k);
        const int32_t pixel = segment_pixel(s, place, from.segment);
        if (pixel < 0) return from_float<T>(0.0f);
        const bool of_x = from.segment < s.taps();
        const T* const x = static_cast<const T*>(of_x ? s.x : s.x2);
        return x[int64_t{pixel} * (of_x ? s.channels : s.channels2) + from.channel];
    }

    const TensorProduct& t_;
    Shared<int32_t> places_;
    const T* b_;
    int64_t k_;
    int32_t line_, lines_of_b_;
};

}  // namespace sdn::cuda::SDN_TARGET
