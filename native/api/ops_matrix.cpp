// conv2d, linear, attention.
#include <algorithm>

#include "api/check.h"

using namespace sdn;
using namespace sdn::api;

namespace {

constexpr int32_t kLargestPad = 1 << 20, kLargestImage = 1 << 20;

// Checks params and returns the output size along one axis.
int64_t conv_output(int64_t size, int32_t pad_before, int32_t pad_after, int32_t kernel, int32_t stride, const char* axis) {
    const int64_t room = size + pad_before + pad_after - kernel;
    if (room < 0)
        fail(SDN_ERROR_SHAPE, "the kernel is %d %s but x with its padding only %lld", kernel, axis, static_cast<LongLong>(room + kernel));
    return room / stride + 1;
}

void check_conv_params(const sdn_conv2d_params& p) {
    if (p.stride != 1 && p.stride != 2) fail(SDN_ERROR_INVALID_ARGUMENT, "stride is %d, must be 1 or 2", p.stride);
    for (const int32_t pad : {p.pad_top, p.pad_left, p.pad_bottom, p.pad_right})
        if (pad < 0 || pad > kLargestPad) fail(SDN_ERROR_INVALID_ARGUMENT, "a padding is %d, must be 0 to %d", pad, kLargestPad);
    if ((p.upsample_height > 0) != (p.upsample_width > 0) || p.upsample_height < 0 || p.upsample_width < 0 ||
        p.upsample_height > kLargestImage || p.upsample_width > kLargestImage)
        fail(SDN_ERROR_INVALID_ARGUMENT, "upsample is %d x %d: both 0, or both 1 to %d", p.upsample_height, p.upsample_width,
             kLargestImage);
}

// The optional tensor if it is there, checked to be dense, of out's dtype and apart from out.
const sdn_tensor* optional_input(const sdn_tensor* tensor, const char* name, const sdn_tensor& out) {
    if (tensor == nullptr) return nullptr;
    require_apart(out, require_activation_like(tensor, name, out), name);
    return tensor;
}

void check_attention_tensor(const sdn_tensor& t, const char* name, int32_t dtype) {
    require_dtype(t, name, dtype);
    require_rank(t, name, 3, 3);
    if (t.stride[2] != 1 && t.shape[2] != 1)
        fail(SDN_ERROR_SHAPE, "%s %s has stride %lld in its last dimension, must be 1", name, shape_text(t).c_str(),
             static_cast<LongLong>(t.stride[2]));
}

}  // namespace

extern "C" {

sdn_status sdn_conv2d(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, const sdn_weight* weight, const sdn_tensor* channel_add,
                      const sdn_tensor* residual, const sdn_conv2d_params* params) {
    return run_op("sdn_conv2d", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_activation(e, out, "out");
        const sdn_tensor& in = require_activation_like(x, "x", o);
        const Weight& w = require_weight(e, weight, "weight", {SDN_WEIGHT_CONV2D, SDN_WEIGHT_MATRIX});
        const sdn_conv2d_params& p = require(params, "params");
        check_conv_params(p);
        require_rank(in, "x", 4, 4);
        if (w.geglu()) fail(SDN_ERROR_INVALID_ARGUMENT, "weight is a geglu weight: use it with sdn_linear");
        const int64_t channels = w.info().columns / (int64_t{w.kernel_height()} * w.kernel_width());
        if (in.shape[3] != channels)
            fail(SDN_ERROR_SHAPE, "x is %s but weight takes %lld channels", shape_text(in).c_str(), static_cast<LongLong>(channels));
        const int64_t height = p.upsample_height > 0 ? p.upsample_height : in.shape[1];
        const int64_t width = p.upsample_width > 0 ? p.upsample_width : in.shape[2];
        const int64_t out_height = conv_output(height, p.pad_top, p.pad_bottom, w.kernel_height(), p.stride, "high");
        const int64_t out_width = conv_output(width, p.pad_left, p.pad_right, w.kernel_width(), p.stride, "wide");
        require_shape(o, "out", {in.shape[0], out_height, out_width, w.info().rows}, "x, weight and params give");
        require_apart(o, in, "x");
        if (optional_input(channel_add, "channel_add", o) != nullptr)
            require_shape(*channel_add, "channel_add", {in.shape[0], w.info().rows}, "x and weight give");
        if (optional_input(residual, "residual", o) != nullptr) require_same_shape(*residual, "residual", o, "out");
        e.count_flops(2 * element_count(o) * w.info().columns);
        e.device().conv2d(e, o, in, w, channel_add, residual, p);
    });
}

sdn_status sdn_linear(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, const sdn_tensor* x2, const sdn_weight* weight,
                      const sdn_tensor* residual, int32_t activation) {
    return run_op("sdn_linear", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_activation(e, out, "out");
        const sdn_tensor& in = require_activation_like(x, "x", o);
        const Weight& w = require_weight(e, weight, "weight", {SDN_WEIGHT_MATRIX, SDN_WEIGHT_CONV2D});
        if (activation < SDN_ACTIVATION_NONE || activation > SDN_ACTIVATION_TANH)
            fail(SDN_ERROR_INVALID_ARGUMENT, "unknown activation %d", activation);
        if (w.kernel_height() != 1 || w.kernel_width() != 1)
            fail(SDN_ERROR_SHAPE, "weight has a %dx%d kernel: use it with sdn_conv2d", w.kernel_height(), w.kernel_width());
        if (w.geglu() != (activation == SDN_ACTIVATION_GEGLU))
            fail(SDN_ERROR_INVALID_ARGUMENT,
                 w.geglu() ? "a geglu weight needs SDN_ACTIVATION_GEGLU" : "SDN_ACTIVATION_GEGLU needs a geglu weight");
        require_apart(o, in, "x");
        int64_t columns = last_dimension(in);
        if (optional_input(x2, "x2", o) != nullptr) {
            if (row_count(*x2) != row_count(in))
                fail(SDN_ERROR_SHAPE, "x is %s but x2 is %s: their rows differ", shape_text(in).c_str(), shape_text(*x2).c_str());
            columns += last_dimension(*x2);
        }
        if (columns != w.info().columns)
            fail(SDN_ERROR_SHAPE, "x%s %s%s%s but weight takes %lld columns", x2 != nullptr ? " and x2 are" : " is", shape_text(in).c_str(),
                 x2 != nullptr ? " and " : "", x2 != nullptr ? shape_text(*x2).c_str() : "", static_cast<LongLong>(w.info().columns));
        const int64_t outputs = w.geglu() ? w.info().rows / 2 : w.info().rows;
        if (row_count(o) != row_count(in) || last_dimension(o) != outputs)
            fail(SDN_ERROR_SHAPE, "out is %s but x and weight give [%lld,%lld]", shape_text(o).c_str(),
                 static_cast<LongLong>(row_count(in)), static_cast<LongLong>(outputs));
        if (optional_input(residual, "residual", o) != nullptr &&
            (row_count(*residual) != row_count(o) || last_dimension(*residual) != outputs))
            fail(SDN_ERROR_SHAPE, "residual is %s but out is %s", shape_text(*residual).c_str(), shape_text(o).c_str());
        e.count_flops(2 * row_count(in) * w.info().rows * w.info().columns);
        e.device().linear(e, o, in, x2, w, residual, activation);
    });
}

sdn_status sdn_attention(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* q, const sdn_tensor* k, const sdn_tensor* v,
                         const sdn_attention_params* params) {
    return run_op("sdn_attention", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_tensor(out, "out");
        const sdn_tensor& queries = require_tensor(q, "q");
        const sdn_tensor& keys = require_tensor(k, "k");
        const sdn_tensor& values = require_tensor(v, "v");
        const sdn_attention_params& p = require(params, "params");
        require_activation_dtype(e, o, "out");
        check_attention_tensor(o, "out", o.dtype);
        check_attention_tensor(queries, "q", o.dtype);
        check_attention_tensor(keys, "k", o.dtype);
        check_attention_tensor(values, "v", o.dtype);
        const int64_t batch = queries.shape[0], width = queries.shape[2];
        if (p.heads < 1 || width % p.heads != 0)
            fail(SDN_ERROR_SHAPE, "q is %s: %lld channels do not divide into %d heads", shape_text(queries).c_str(),
                 static_cast<LongLong>(width), p.heads);
        if (width / p.heads > 512)
            fail(SDN_ERROR_SHAPE, "the head dimension is %lld, must be 1 to 512", static_cast<LongLong>(width / p.heads));
        require_finite(static_cast<double>(p.scale), "scale");
        require_shape(keys, "k", {batch, keys.shape[1], width}, "q gives");
        require_same_shape(values, "v", keys, "k");
        require_same_shape(o, "out", queries, "q");
        if (p.causal != 0 && queries.shape[1] != keys.shape[1])
            fail(SDN_ERROR_SHAPE, "causal attention needs as many queries as keys, but q is %s and k is %s", shape_text(queries).c_str(),
                 shape_text(keys).c_str());
        require_distinct_elements(o);
        require_apart(o, queries, "q");
        require_apart(o, keys, "k");
        require_apart(o, values, "v");
        e.count_flops(4 * batch * queries.shape[1] * keys.shape[1] * width);
        e.device().attention(e, o, queries, keys, values, p);
    });
}

}  // extern "C"
