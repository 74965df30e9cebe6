#include "api/check.h"

#include <algorithm>
#include <cmath>

namespace sdn::api {

namespace {

std::string list_text(const int64_t* shape, int rank) {
    std::string text = "[";
    for (int i = 0; i < rank; ++i) text += (i > 0 ? "," : "") + std::to_string(shape[i]);
    return text + "]";
}

// Bytes from the first to behind the last element.
int64_t extent_bytes(const sdn_tensor& tensor) {
    int64_t last = 0;
    for (int i = 0; i < tensor.rank; ++i) last += (tensor.shape[i] - 1) * tensor.stride[i];
    return (last + 1) * dtype_bytes(tensor.dtype);
}

uintptr_t address(const sdn_tensor& tensor) {
    return reinterpret_cast<uintptr_t>(tensor.data);
}

// Within one period of `pitch` bytes the tensor touches only its first `reach` bytes, or 0 if its strides do not repeat so.
int64_t reach_within(const sdn_tensor& tensor, int64_t pitch) {
    int64_t last = 0;
    const int64_t bytes = dtype_bytes(tensor.dtype);
    for (int i = 0; i < tensor.rank; ++i) {
        const int64_t stride = tensor.stride[i] * bytes;
        if (tensor.shape[i] == 1 || stride == 0 || stride % pitch == 0) continue;
        if (stride > pitch) return 0;
        last += (tensor.shape[i] - 1) * stride;
    }
    return last + bytes <= pitch ? last + bytes : 0;
}

// Two slices of the columns of one buffer: equal row pitch, different columns.
bool interleaved(const sdn_tensor& a, const sdn_tensor& b) {
    const int64_t bytes = dtype_bytes(a.dtype);
    for (int i = 0; i < a.rank; ++i) {
        const int64_t pitch = a.stride[i] * bytes;
        if (a.shape[i] == 1 || pitch == 0) continue;
        const int64_t reach_a = reach_within(a, pitch), reach_b = reach_within(b, pitch);
        if (reach_a == 0 || reach_b == 0) continue;
        const int64_t difference = static_cast<int64_t>(address(b) - address(a)) % pitch;
        const int64_t offset = difference < 0 ? difference + pitch : difference;
        if (offset >= reach_a && offset + reach_b <= pitch) return true;
    }
    return false;
}

bool overlap(const sdn_tensor& a, const sdn_tensor& b) {
    const uintptr_t end_a = address(a) + static_cast<uintptr_t>(extent_bytes(a));
    const uintptr_t end_b = address(b) + static_cast<uintptr_t>(extent_bytes(b));
    if (address(a) >= end_b || address(b) >= end_a) return false;
    return !interleaved(a, b) && !interleaved(b, a);
}

const char* kind_name(int kind) {
    constexpr const char* kNames[] = {"matrix", "conv2d", "norm", "embedding"};
    return kNames[kind];
}

}  // namespace

std::string shape_text(const sdn_tensor& tensor) {
    return list_text(tensor.shape, tensor.rank);
}
std::string shape_text(std::initializer_list<int64_t> shape) {
    return list_text(shape.begin(), static_cast<int>(shape.size()));
}

int64_t element_count(const sdn_tensor& tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor.rank; ++i) count *= tensor.shape[i];
    return count;
}

int64_t last_dimension(const sdn_tensor& tensor) {
    return tensor.shape[tensor.rank - 1];
}
int64_t row_count(const sdn_tensor& tensor) {
    return element_count(tensor) / last_dimension(tensor);
}

bool is_dense(const sdn_tensor& tensor) {
    int64_t stride = 1;
    for (int i = tensor.rank - 1; i >= 0; --i) {
        if (tensor.shape[i] != 1 && tensor.stride[i] != stride) return false;
        stride *= tensor.shape[i];
    }
    return true;
}

bool same_shape(const sdn_tensor& a, const sdn_tensor& b) {
    return a.rank == b.rank && std::equal(a.shape, a.shape + a.rank, b.shape);
}

const sdn_tensor& require_tensor(const sdn_tensor* tensor, const char* name) {
    const sdn_tensor& t = require(tensor, name);
    if (!is_dtype(t.dtype)) fail(SDN_ERROR_INVALID_ARGUMENT, "%s has the unknown dtype %d", name, t.dtype);
    if (t.rank < 1 || t.rank > 4) fail(SDN_ERROR_SHAPE, "%s has rank %d: 1 to 4 is possible", name, t.rank);
    constexpr int64_t kMost = int64_t{1} << 44;  // elements; what it spans in bytes then cannot overflow
    int64_t count = 1, span = 1;
    for (int i = 0; i < t.rank; ++i) {
        if (t.shape[i] < 1) fail(SDN_ERROR_SHAPE, "%s is %s: every dimension must be at least 1", name, shape_text(t).c_str());
        if (t.stride[i] < 0) fail(SDN_ERROR_SHAPE, "%s has the negative strides %s", name, list_text(t.stride, t.rank).c_str());
        const bool fits = t.shape[i] <= kMost / count && (t.stride[i] == 0 || t.shape[i] - 1 <= kMost / t.stride[i]);
        if (fits) span += (t.shape[i] - 1) * t.stride[i];
        if (!fits || span > kMost)
            fail(SDN_ERROR_SHAPE, "%s is %s with strides %s: more than %lld elements", name, shape_text(t).c_str(),
                 list_text(t.stride, t.rank).c_str(), static_cast<LongLong>(kMost));
        count *= t.shape[i];
    }
    if (t.data == nullptr) fail(SDN_ERROR_INVALID_ARGUMENT, "%s has no data", name);
    return t;
}

const sdn_tensor& require_dense(const sdn_tensor* tensor, const char* name) {
    const sdn_tensor& t = require_tensor(tensor, name);
    if (!is_dense(t))
        fail(SDN_ERROR_SHAPE, "%s must be dense, but %s has strides %s; sdn_copy() makes it so", name, shape_text(t).c_str(),
             list_text(t.stride, t.rank).c_str());
    return t;
}

const sdn_tensor& require_dense(const sdn_tensor* tensor, const char* name, int32_t dtype) {
    const sdn_tensor& t = require_dense(tensor, name);
    require_dtype(t, name, dtype);
    return t;
}

void require_dtype(const sdn_tensor& tensor, const char* name, int32_t dtype) {
    if (tensor.dtype != dtype) fail(SDN_ERROR_SHAPE, "%s is %s, must be %s", name, dtype_name(tensor.dtype), dtype_name(dtype));
}

const sdn_tensor& require_activation(const Exec& exec, const sdn_tensor* tensor, const char* name) {
    const sdn_tensor& t = require_dense(tensor, name);
    require_activation_dtype(exec, t, name);
    return t;
}

void require_activation_dtype(const Exec& exec, const sdn_tensor& tensor, const char* name) {
    if (exec.device().computes_in(tensor.dtype)) return;
    fail(SDN_ERROR_SHAPE, "%s is %s, must be %s", name, dtype_name(tensor.dtype),
         exec.device().computes_in(SDN_FLOAT16) ? "float32, float16 or bfloat16" : "float32");
}

const sdn_tensor& require_activation_like(const sdn_tensor* tensor, const char* name, const sdn_tensor& other) {
    return require_dense(tensor, name, other.dtype);
}

void require_rank(const sdn_tensor& tensor, const char* name, int lowest, int highest) {
    if (tensor.rank >= lowest && tensor.rank <= highest) return;
    if (lowest == highest) fail(SDN_ERROR_SHAPE, "%s is %s, must have rank %d", name, shape_text(tensor).c_str(), lowest);
    fail(SDN_ERROR_SHAPE, "%s is %s, must have rank %d to %d", name, shape_text(tensor).c_str(), lowest, highest);
}

void require_shape(const sdn_tensor& tensor, const char* name, std::initializer_list<int64_t> shape, const char* given) {
    const bool same = tensor.rank == static_cast<int>(shape.size()) && std::equal(shape.begin(), shape.end(), tensor.shape);
    if (!same) fail(SDN_ERROR_SHAPE, "%s is %s but %s %s", name, shape_text(tensor).c_str(), given, shape_text(shape).c_str());
}

void require_same_shape(const sdn_tensor& tensor, const char* name, const sdn_tensor& other, const char* other_name) {
    if (!same_shape(tensor, other))
        fail(SDN_ERROR_SHAPE, "%s is %s but %s is %s: they must be equal", name, shape_text(tensor).c_str(), other_name,
             shape_text(other).c_str());
}

void require_apart(const sdn_tensor& out, const sdn_tensor& x, const char* x_name) {
    if (overlap(out, x))
        fail(SDN_ERROR_INVALID_ARGUMENT, "out %s and %s %s overlap in memory", shape_text(out).c_str(), x_name, shape_text(x).c_str());
}

void require_apart_or_same(const sdn_tensor& out, const sdn_tensor& x, const char* x_name) {
    if (out.data != x.data) require_apart(out, x, x_name);
}

void require_distinct_elements(const sdn_tensor& out) {
    // Sorted by stride, each dimension must step over all that lies within it.
    int order[4], n = 0;
    for (int i = 0; i < out.rank; ++i) {
        if (out.shape[i] == 1) continue;
        int at = n++;
        for (; at > 0 && out.stride[order[at - 1]] > out.stride[i]; --at) order[at] = order[at - 1];
        order[at] = i;
    }
    int64_t within = 0;  // offset of the last element so far
    for (int i = 0; i < n; ++i) {
        const int64_t stride = out.stride[order[i]];
        if (stride <= within)
            fail(SDN_ERROR_SHAPE, "out %s has strides %s: some elements would be written more than once", shape_text(out).c_str(),
                 list_text(out.stride, out.rank).c_str());
        within += (out.shape[order[i]] - 1) * stride;
    }
}

void require_finite(double value, const char* name) {
    if (!std::isfinite(value)) fail(SDN_ERROR_INVALID_ARGUMENT, "%s is %g, must be a finite number", name, value);
}

const Weight& require_weight(const Exec& exec, const sdn_weight* weight, const char* name, std::initializer_list<int> kinds) {
    const Weight& w = *require(weight, name).weight;
    if (std::find(kinds.begin(), kinds.end(), w.kind()) == kinds.end())
        fail(SDN_ERROR_INVALID_ARGUMENT, "%s is a %s weight, must be a %s weight", name, kind_name(w.kind()), kind_name(*kinds.begin()));
    if (!exec.device().shares_weights_with(w.device()))
        fail(SDN_ERROR_INVALID_ARGUMENT, "%s was made for %s, but the exec's device is %s", name, w.device().name().c_str(),
             exec.device().name().c_str());
    return w;
}

}  // namespace sdn::api
