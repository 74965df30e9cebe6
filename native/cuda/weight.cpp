#include "cuda/weight.h"

#include "core/dtype.h"
#include "core/error.h"
#include "core/memory.h"

namespace sdn::cuda {

Weight::Weight(std::shared_ptr<Device> device, const sdn_weight_desc& desc) : sdn::Weight(device, desc), gpu_(*device) {
    if (desc.storage == SDN_INT8)
        fail(SDN_ERROR_UNSUPPORTED, "weights in int8 are for CPU devices: a CUDA device keeps them in float32, float16 or bfloat16");
    Staging::Loan loan(gpu_.staging());
    switch (desc.kind) {
        case SDN_WEIGHT_NORM:
            copy_norm(loan, desc);
            break;
        case SDN_WEIGHT_EMBEDDING:
            copy_embedding(loan, desc);
            break;
        default:
            pack_matrix(loan, desc);
            if (desc.biases != nullptr) pack_bias(loan, desc);
    }
    loan.finish();
}

std::shared_ptr<void> Weight::take(int64_t bytes, const char* purpose) {
    info_.bytes += bytes;
    return gpu_.allocate(bytes, purpose);
}

void Weight::send_converted(Staging::Loan& loan, void* target, int32_t dtype, const sdn_tensor& source) {
    const int64_t rows = source.shape[0], columns = source.rank > 1 ? source.shape[1] : 1;
    loan.send(source.data, rows, columns * dtype_bytes(source.dtype), [&](const void* piece, int64_t row, int64_t count) {
        gpu_.ops().convert(loan.queue(), static_cast<char*>(target) + row * columns * dtype_bytes(dtype), dtype, piece, source.dtype,
                           count * columns);
    });
}

void Weight::copy_norm(Staging::Loan& loan, const sdn_weight_desc& desc) {
    values_ = take(info_.rows * 4, "a norm's scale");
    bias_ = take(info_.rows * 4, "a norm's shift");
    send_converted(loan, values_.get(), SDN_FLOAT32, desc.parts[0]);
    send_converted(loan, bias_.get(), SDN_FLOAT32, desc.biases[0]);
    norm_ = {static_cast<const float*>(values_.get()), static_cast<const float*>(bias_.get()), info_.rows};
}

void Weight::copy_embedding(Staging::Loan& loan, const sdn_weight_desc& desc) {
    values_ = take(info_.rows * info_.columns * dtype_bytes(desc.storage), "an embedding table");
    send_converted(loan, values_.get(), desc.storage, desc.parts[0]);
    embedding_ = {values_.get(), desc.storage, info_.rows, info_.columns};
}

void Weight::pack_matrix(Staging::Loan& loan, const sdn_weight_desc& desc) {
    const int64_t size = dtype_bytes(desc.storage);
    const int64_t padding = 16 / size;  // elements to a multiple of 16 bytes
    matrix_.storage = desc.storage;
    matrix_.rows = info_.rows;
    matrix_.columns = info_.columns;
    matrix_.kernel_height = kernel_height_;
    matrix_.kernel_width = kernel_width_;
    matrix_.geglu = geglu_;
    matrix_.row_stride = round_up(info_.columns, padding);
    values_ = take(info_.rows * matrix_.row_stride * size, "a packed weight");
    matrix_.data = values_.get();
    int64_t first = 0;
    for (int32_t i = 0; i < desc.part_count; ++i) {
        const sdn_tensor& part = desc.parts[i];
        loan.send(part.data, part.shape[0], info_.columns * dtype_bytes(part.dtype), [&](const void* piece, int64_t row, int64_t count) {
            gpu_.ops().pack_rows(loan.queue(), matrix_, piece, part.dtype, first + row, count);
        });
        first += part.shape[0];
    }
    if (desc.doubles != 0) {
        matrix_.phase_row_stride = round_up(4 * matrix_.channels(), padding);
        phases_ = take(4 * info_.rows * matrix_.phase_row_stride * size, "the phases of a convolution");
        matrix_.phases = phases_.get();
        gpu_.ops().pack_phases(loan.queue(), matrix_);
    }
}

void Weight::pack_bias(Staging::Loan& loan, const sdn_weight_desc& desc) {
    bias_ = take(info_.rows * 4, "a bias");
    matrix_.bias = static_cast<float*>(bias_.get());
    int64_t first = 0;
    for (int32_t i = 0; i < desc.part_count; ++i) {
        const sdn_tensor& part = desc.biases[i];
        loan.send(part.data, part.shape[0], dtype_bytes(part.dtype), [&](const void* piece, int64_t row, int64_t count) {
            gpu_.ops().pack_bias(loan.queue(), matrix_, piece, part.dtype, first + row, count);
        });
        first += part.shape[0];
    }
}

void Weight::unpack(void* values, float* bias) const {
    Staging::Loan loan(gpu_.staging());
    const bool is_matrix = info_.kind == SDN_WEIGHT_MATRIX || info_.kind == SDN_WEIGHT_CONV2D;
    if (values != nullptr) {
        const int64_t bytes = info_.rows * info_.columns * dtype_bytes(info_.storage);
        if (is_matrix) {
            const std::shared_ptr<void> logical = gpu_.allocate(bytes, "an unpacked weight");
            gpu_.ops().unpack_rows(loan.queue(), matrix_, logical.get());
            loan.receive(values, logical.get(), bytes);
        } else {
            loan.receive(values, values_.get(), bytes);
        }
    }
    if (bias == nullptr) return;
    const int64_t bytes = info_.rows * 4;
    if (bias_ == nullptr) {
        for (int64_t row = 0; row < info_.rows; ++row) bias[row] = 0;
    } else if (is_matrix) {
        const std::shared_ptr<void> logical = gpu_.allocate(bytes, "an unpacked bias");
        gpu_.ops().unpack_bias(loan.queue(), matrix_, static_cast<float*>(logical.get()));
        loan.receive(bias, logical.get(), bytes);
    } else {
        loan.receive(bias, bias_.get(), bytes);
    }
}

}  // namespace sdn::cuda
