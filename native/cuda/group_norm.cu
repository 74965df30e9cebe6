// Computes:  out = act((x - mean) / sqrt(var + eps) * scale + shift), mean and biased variance per sample and group of channels.
// Shapes:    x [B,rows,C1], x2 [B,rows,C2] or none, out [B,rows,C1+C2], all dense; the groups run over C1+C2.
// Algorithm: group_norm_slice for small groups: a block copies the slice of one sample and group to shared memory, where two passes give
// mean
//            and squares of deviations and a third the result: one read. group_norm_measure and _apply for large ones: blocks of rows, all
//            channels; each thread keeps mean and squares of its channels (Welford), a block joins them per group, and every block of the
//            second kernel joins the blocks' in order. Both in float32, in a fixed order. Slices that suit neither are read three times.
// Launch:    grid groups * B, 512 threads, the slice in shared memory; or grid chunks * B, a thread per vector of channels and row.
#include "cuda/activations.h"
#include "cuda/block_sum.h"
#include "cuda/dispatch.h"
#include "cuda/launchers.h"

namespace sdn::cuda::SDN_TARGET {

namespace {

constexpr int kThreads = 512;
constexpr int kMeasuredAtOnce = 4, kAppliedAtOnce = 2;  // rows of a thread: loads under way together
// Above this a slice is cut into chunks instead: it would keep one multiprocessor busy for longer than the second kernel costs.
constexpr int64_t kMostSliceElements = 32768;
constexpr int kSliceOffset = kBlockSumFloats * static_cast<int>(sizeof(float));

struct Moments {
    float mean, squares;  // sum of squared deviations from the mean
};

template <class T>
struct Input {
    const T *x, *x2;
    int64_t rows;  // per sample
    int channels1, channels2;
    int group_channels;

    SDN_HOST_DEVICE int channels() const { return channels1 + channels2; }
    // The element (sample, row, channel); what follows up to a multiple of the vector width is of the same source.
    SDN_HOST_DEVICE const T* at(int64_t sample, int64_t row, int channel) const {
        return channel < channels1 ? x + (sample * rows + row) * channels1 + channel
                                   : x2 + (sample * rows + row) * channels2 + (channel - channels1);
    }
};

struct Output {
    void* out;
    const float *scale, *shift;
    float eps;
    bool silu;
};

SDN_DEVICE float normalise(float x, float mean, float factor, float shift, bool silu_after) {
    const float y = fmaf(x - mean, factor, shift);
    return silu_after ? silu_approx(y) : y;
}

// ---- one block per sample and group --------------------------------------------------------------------------------------

// Calls body(i, row, column) for the vectors i = row * columns + column of a slice that belong to this thread.
template <class Index, class Body>
SDN_DEVICE void for_own_vectors(int64_t rows, int columns, Body body) {
    const int threads = block_threads(), rows_per_step = threads / columns, columns_per_step = threads % columns;
    const Index count = static_cast<Index>(rows * columns);
    Index row = thread_index() / columns;
    int column = thread_index() % columns;
    for (Index i = thread_index(); i < count; i += threads) {
        body(i, row, column);
        row += rows_per_step;
        column += columns_per_step;
        if (column >= columns) column -= columns, ++row;
    }
}

template <class T, int kWidth, bool kStaged>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 2) group_norm_slice(Input<T> input, Output output) {
    using Index = std::conditional_t<kStaged, int, int64_t>;
    const int groups = input.channels() / input.group_channels, columns = input.group_channels / kWidth;
    const int first_channel = static_cast<int>(block_x() % groups) * input.group_channels;
    const int64_t sample = block_x() / groups;
    const Shared<float> sums = shared_array<float>(0, kBlockSumFloats);
    const Shared<T> slice = shared_array<T>(kSliceOffset, kStaged ? static_cast<int>(input.rows * input.group_channels) : 0);
    const auto each = [&](auto body) { for_own_vectors<Index>(input.rows, columns, body); };
    const auto source = [&](Index row, int column) { return input.at(sample, row, first_channel + column * kWidth); };

    // A thread reads only what it has copied itself, so waiting for its own copies is enough.
    if constexpr (kStaged) {
        each([&](Index i, Index row, int column) {
            if constexpr (kWidth * sizeof(T) >= 4)
                copy_async<kWidth * sizeof(T)>(slice + i * kWidth, source(row, column));
            else
                slice[i] = *source(row, column);
        });
        commit_async();
        wait_async<0>();
    }
    const auto values = [&](Index i, Index row, int column) {
        if constexpr (kStaged)
            return slice.template read<kWidth>(i * kWidth);
        else
            return load_vec<kWidth>(source(row, column));
    };

    const float inverse_count = 1.0f / (static_cast<float>(input.rows) * static_cast<float>(input.group_channels));
    float sum = 0;
    each([&](Index i, Index row, int column) {
        const Vec<T, kWidth> v = values(i, row, column);
        SDN_UNROLL
        for (int j = 0; j < kWidth; ++j) sum += to_float(v[j]);
    });
    const float mean = block_sum(sum, sums) * inverse_count;
    float squares = 0;
    each([&](Index i, Index row, int column) {
        const Vec<T, kWidth> v = values(i, row, column);
        SDN_UNROLL
        for (int j = 0; j < kWidth; ++j) squares = fmaf(to_float(v[j]) - mean, to_float(v[j]) - mean, squares);
    });
    const float inverse = 1.0f / sqrtf(block_sum(squares, sums) * inverse_count + output.eps);

    T* const out = static_cast<T*>(output.out) + sample * input.rows * input.channels() + first_channel;
    each([&](Index i, Index row, int column) {
        Vec<T, kWidth> v = values(i, row, column);
        SDN_UNROLL
        for (int j = 0; j < kWidth; ++j) {
            const int channel = first_channel + column * kWidth + j;
            v[j] = from_float<T>(normalise(to_float(v[j]), mean, inverse * output.scale[channel], output.shift[channel], output.silu));
        }
        store_vec(out + row * input.channels() + column * kWidth, v);
    });
}

// ---- chunks of rows ------------------------------------------------------------------------------------------------------

// How rows are cut into chunks and a chunk's rows dealt to the row lanes of a block.
struct Chunks {
    int64_t rows_per_chunk;
    int chunks;  // per sample
    int groups;
    int lanes;

    SDN_HOST_DEVICE int64_t rows_of(int64_t chunk, int64_t rows) const { return min_of(rows_per_chunk, rows - chunk * rows_per_chunk); }
};

// Joins moments (count(i), get(i)) of `parts` parts, part by part over the lanes of a warp; all lanes get the result's bits. Sums are taken
// relative to the first mean, so that an offset of the data costs no digits.
template <class Count, class Get>
SDN_DEVICE Moments join_moments(int parts, float total, Count count, Get get) {
    const float origin = get(0).mean;
    float sum = 0;
    for (int i = lane_index(); i < parts; i += kWarpThreads) sum = fmaf(count(i), get(i).mean - origin, sum);
    const float mean = origin + warp_sum(sum) / total;
    float squares = 0;
    for (int i = lane_index(); i < parts; i += kWarpThreads) {
        const Moments part = get(i);
        squares += fmaf(count(i) * (part.mean - mean), part.mean - mean, part.squares);
    }
    return {mean, warp_sum(squares)};
}

// partial [B, groups, chunks]
template <class T>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 2) group_norm_measure(Input<T> input, Chunks cut, Moments* partial) {
    constexpr int kWidth = 16 / sizeof(T);
    const int channels = input.channels(), columns = channels / kWidth;
    const int64_t chunk = block_x() % cut.chunks, sample = block_x() / cut.chunks;
    const int count = static_cast<int>(cut.rows_of(chunk, input.rows));
    const Shared<Moments> moments = shared_array<Moments>(0, cut.lanes * channels);  // [lanes, channels]
    const int lane = thread_index() / columns, channel = thread_index() % columns * kWidth;

    if (lane < cut.lanes) {
        const T* const x = input.at(sample, chunk * cut.rows_per_chunk, channel);
        const int stride = channel < input.channels1 ? input.channels1 : input.channels2;
        float mean[kWidth] = {}, squares[kWidth] = {}, seen = 0;
        for (int row = lane; row < count; row += kMeasuredAtOnce * cut.lanes) {
            Vec<T, kWidth> values[kMeasuredAtOnce];
            SDN_UNROLL
            for (int i = 0; i < kMeasuredAtOnce; ++i)
                if (row + i * cut.lanes < count) values[i] = load_vec<kWidth>(x + int64_t{row + i * cut.lanes} * stride);
            SDN_UNROLL
            for (int i = 0; i < kMeasuredAtOnce; ++i) {
                if (row + i * cut.lanes >= count) break;
                seen += 1.0f;
                const float share = reciprocal_approx(seen);
                SDN_UNROLL
                for (int j = 0; j < kWidth; ++j) {
                    const float value = to_float(values[i][j]), before = value - mean[j];
                    mean[j] = fmaf(before, share, mean[j]);
                    squares[j] = fmaf(before, value - mean[j], squares[j]);
                }
            }
        }
        SDN_UNROLL
        for (int j = 0; j < kWidth; ++j) moments[lane * channels + channel + j] = {mean[j], squares[j]};
    }
    sync_block();

    const int size = input.group_channels;
    for (int group = warp_index(); group < cut.groups; group += block_threads() / kWarpThreads) {
        const Moments joined = join_moments(
            cut.lanes * size, static_cast<float>(count) * static_cast<float>(size),
            [&](int i) { return static_cast<float>((count - i / size + cut.lanes - 1) / cut.lanes); },
            [&](int i) -> Moments { return moments[i / size * channels + group * size + i % size]; });
        if (lane_index() == 0) partial[(sample * cut.groups + group) * cut.chunks + chunk] = joined;
    }
}

template <class T>
SDN_KERNEL void SDN_LAUNCH_BOUNDS(kThreads, 2) group_norm_apply(Input<T> input, Chunks cut, const Moments* partial, Output output) {
    constexpr int kWidth = 16 / sizeof(T);
    const int channels = input.channels(), columns = channels / kWidth, size = input.group_channels;
    // Backwards, so that what was measured last, and is still in the level-2 cache, comes first.
    const int64_t chunk = cut.chunks - 1 - block_x() % cut.chunks, sample = block_x() / cut.chunks;
    const int count = static_cast<int>(cut.rows_of(chunk, input.rows));
    const Shared<Moments> terms = shared_array<Moments>(0, cut.groups);  // mean, 1 / deviation
    const int lane = thread_index() / columns, channel = thread_index() % columns * kWidth;

    for (int group = warp_index(); group < cut.groups; group += block_threads() / kWarpThreads) {
        const Moments* const parts = partial + (sample * cut.groups + group) * cut.chunks;
        const float total = static_cast<float>(input.rows) * static_cast<float>(size);
        const Moments joined = join_moments(
            cut.chunks, total, [&](int i) { return static_cast<float>(cut.rows_of(i, input.rows) * size); },
            [&](int i) -> Moments { return parts[i]; });
        if (lane_index() == 0) terms[group] = {joined.mean, 1.0f / sqrtf(joined.squares / total + output.eps)};
    }
    sync_block();
    if (lane >= cut.lanes) return;

    float mean[kWidth], factor[kWidth], shift[kWidth];
    SDN_UNROLL
    for (int j = 0; j < kWidth; ++j) {
        const Moments term = terms[(channel + j) / size];
        mean[j] = term.mean;
        factor[j] = term.squares * output.scale[channel + j];
        shift[j] = output.shift[channel + j];
    }
    const T* const x = input.at(sample, chunk * cut.rows_per_chunk, channel);
    const int stride = channel < input.channels1 ? input.channels1 : input.channels2;
    T* const out = static_cast<T*>(output.out) + (sample * input.rows + chunk * cut.rows_per_chunk) * channels + channel;
    for (int row = lane; row < count; row += kAppliedAtOnce * cut.lanes) {
        Vec<T, kWidth> values[kAppliedAtOnce];
        SDN_UNROLL
        for (int i = 0; i < kAppliedAtOnce; ++i)
            if (row + i * cut.lanes < count) values[i] = load_vec<kWidth>(x + int64_t{row + i * cut.lanes} * stride);
        SDN_UNROLL
        for (int i = 0; i < kAppliedAtOnce; ++i) {
            if (row + i * cut.lanes >= count) break;
            SDN_UNROLL
            for (int j = 0; j < kWidth; ++j)
                values[i][j] = from_float<T>(normalise(to_float(values[i][j]), mean[j], factor[j], shift[j], output.silu));
            store_vec(out + int64_t{row + i * cut.lanes} * channels, values[i]);
        }
    }
}

// ---- launchers -----------------------------------------------------------------------------------------------------------

// The widest vector that every slice of a group is made of, in each source and in the output.
template <class T>
int slice_width(const Input<T>& input, const void* out) {
    int width = 16 / static_cast<int>(sizeof(T));
    const auto fits = [&](const void* data, int channels) {
        return channels % width == 0 && reinterpret_cast<uintptr_t>(data) % (static_cast<size_t>(width) * sizeof(T)) == 0;
    };
    while (width > 1 && !(input.group_channels % width == 0 && fits(input.x, input.channels1) && fits(input.x2, input.channels2) &&
                          fits(out, input.channels())))
        width /= 2;
    return width;
}

template <class T, int kWidth>
void launch_staged_slices(Queue& queue, const Input<T>& input, const Output& output, Grid grid, int shared_bytes) {
    launch(queue, "sm80_group_norm_slice", group_norm_slice<T, kWidth, true>, grid, kThreads, shared_bytes, input, output);
}

template <class T>
void launch_slices(Queue& queue, const Input<T>& input, const Output& output, Grid grid, bool staged) {
    if (!staged) {
        launch(queue, "sm80_group_norm_three_reads", group_norm_slice<T, 1, false>, grid, kThreads, kSliceOffset, input, output);
        return;
    }
    const int shared_bytes = kSliceOffset + static_cast<int>(input.rows * input.group_channels * static_cast<int64_t>(sizeof(T)));
    const int width = slice_width(input, output.out);
    if constexpr (sizeof(T) == 2) {
        if (width == 8) return launch_staged_slices<T, 8>(queue, input, output, grid, shared_bytes);
    }
    if (width >= 4) return launch_staged_slices<T, 4>(queue, input, output, grid, shared_bytes);
    if (width == 2) return launch_staged_slices<T, 2>(queue, input, output, grid, shared_bytes);
    launch_staged_slices<T, 1>(queue, input, output, grid, shared_bytes);
}

}  // namespace

void group_norm(Exec& exec, const sdn_tensor& out, const sdn_tensor& x, const sdn_tensor* x2, const NormWeight& weight, int32_t groups,
                float eps, int32_t activation) {
    Queue& queue = exec_queue(exec);
    const int64_t batch = x.shape[0];
    const Output output{out.data, weight.scale, weight.shift, eps, activation == SDN_ACTIVATION_SILU};
    with_element_type(x.dtype, [&](auto element) {
        using T = decltype(element);
        constexpr int kWidth = 16 / sizeof(T);
        Input<T> input{};
        input.x = static_cast<const T*>(x.data);
        input.channels1 = static_cast<int>(x.shape[x.rank - 1]);
        input.x2 = x2 != nullptr ? static_cast<const T*>(x2->data) : input.x;
        input.channels2 = x2 != nullptr ? static_cast<int>(x2->shape[x2->rank - 1]) : 0;
        input.group_channels = static_cast<int>(weight.channels / groups);
        input.rows = 1;
        for (int i = 1; i + 1 < x.rank; ++i) input.rows *= x.shape[i];

        const int64_t elements = input.rows * input.group_channels;
        const bool fits = kSliceOffset + elements * static_cast<int64_t>(sizeof(T)) <= queue.limits.shared_per_block;
        // What a thread per vector of 16 bytes, and 512 threads, can do. Addresses in the arena are stand-ins while measuring, so scratch
        // is taken whatever they are.
        const int columns = input.channels() / kWidth;
        const bool vectors = input.channels1 % kWidth == 0 && input.channels2 % kWidth == 0 && columns <= kThreads;
        if ((fits && elements <= kMostSliceElements) || !vectors) {
            if (!exec_measuring(exec)) launch_slices(queue, input, output, Grid{groups * batch}, fits);
            return;
        }
        Chunks cut{};
        cut.groups = groups;
        cut.lanes = kThreads / columns;
        const int64_t wanted = max_of<int64_t>(1, 2 * queue.limits.multiprocessors / batch);
        cut.rows_per_chunk = ceil_div(input.rows, min_of(input.rows, wanted));
        cut.chunks = static_cast<int>(ceil_div(input.rows, cut.rows_per_chunk));
        cut.lanes = static_cast<int>(min_of<int64_t>(cut.lanes, cut.rows_per_chunk));
        Moments* const partial =
            static_cast<Moments*>(exec_scratch(exec, batch * groups * cut.chunks * static_cast<int64_t>(sizeof(Moments))));
        if (!exec_measuring(exec)) {
            if (is_aligned(input.x) && is_aligned(input.x2) && is_aligned(out.data)) {
                const Grid grid{cut.chunks * batch};
                const int threads = ceil_div(cut.lanes * columns, kWarpThreads) * kWarpThreads;
                launch(queue, "sm80_group_norm_measure", group_norm_measure<T>, grid, threads,
                       cut.lanes * input.channels() * static_cast<int>(sizeof(Moments)), input, cut, partial);
                launch(queue, "sm80_group_norm_apply", group_norm_apply<T>, grid, threads, groups * static_cast<int>(sizeof(Moments)),
                       input, cut, static_cast<const Moments*>(partial), output);
            } else {
                launch_slices(queue, input, output, Grid{groups * batch}, fits);
            }
        }
        exec_release(exec, partial);
    });
}

}  // namespace sdn::cuda::SDN_TARGET
