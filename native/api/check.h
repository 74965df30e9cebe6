// What every entry point checks about its arguments. A failed check throws with a text that names the tensor and both shapes.
#pragma once

#include <string>

#include "core/dtype.h"
#include "core/error.h"
#include "core/exec.h"
#include "core/weight.h"
#include "sdn.h"

namespace sdn::api {

using LongLong = long long;  // what %lld takes

std::string shape_text(const sdn_tensor& tensor);  // "[1,8,8,16]"
std::string shape_text(std::initializer_list<int64_t> shape);
int64_t element_count(const sdn_tensor& tensor);
int64_t row_count(const sdn_tensor& tensor);  // product of all dimensions but the last
int64_t last_dimension(const sdn_tensor& tensor);
bool is_dense(const sdn_tensor& tensor);
bool same_shape(const sdn_tensor& a, const sdn_tensor& b);

template <class T>
T& require(T* pointer, const char* name) {
    if (pointer == nullptr) fail(SDN_ERROR_INVALID_ARGUMENT, "%s is NULL", name);
    return *pointer;
}

// A tensor that may be used at all: known dtype, rank 1..4, positive shape, strides not negative, data, no overflow.
const sdn_tensor& require_tensor(const sdn_tensor* tensor, const char* name);
// The same, and dense.
const sdn_tensor& require_dense(const sdn_tensor* tensor, const char* name);
// The same, dense, and of this dtype.
const sdn_tensor& require_dense(const sdn_tensor* tensor, const char* name, int32_t dtype);
void require_dtype(const sdn_tensor& tensor, const char* name, int32_t dtype);
// The same, dense, and of a dtype that the exec's device computes in.
const sdn_tensor& require_activation(const Exec& exec, const sdn_tensor* tensor, const char* name);
void require_activation_dtype(const Exec& exec, const sdn_tensor& tensor, const char* name);
// The same, dense, and of the other tensor's dtype.
const sdn_tensor& require_activation_like(const sdn_tensor* tensor, const char* name, const sdn_tensor& other);
void require_rank(const sdn_tensor& tensor, const char* name, int lowest, int highest);
// `given` says where the expected shape comes from: "x, weight and params give".
void require_shape(const sdn_tensor& tensor, const char* name, std::initializer_list<int64_t> shape, const char* given);
void require_same_shape(const sdn_tensor& tensor, const char* name, const sdn_tensor& other, const char* other_name);
// out must not share memory with x. Interleaved slices of one buffer that touch no common element are fine.
void require_apart(const sdn_tensor& out, const sdn_tensor& x, const char* x_name);
// out must be x itself, or not share memory with it.
void require_apart_or_same(const sdn_tensor& out, const sdn_tensor& x, const char* x_name);
// No element of out is written twice.
void require_distinct_elements(const sdn_tensor& out);

void require_finite(double value, const char* name);

// A weight of one of these kinds that was packed for the exec's device.
const Weight& require_weight(const Exec& exec, const sdn_weight* weight, const char* name, std::initializer_list<int> kinds);

// One op: exec, cancellation, statistics; scratch is given back whatever happens. body(exec) checks, counts its flops, then computes. A
// fault of the device names the op and the shape of out.
template <class Body>
sdn_status run_op(const char* name, sdn_exec* exec, const sdn_tensor* out, Body&& body) noexcept {
    return guard(name, [&] {
        Exec& e = require(exec, "exec");
        e.begin_op();
        try {
            body(e);
            e.end_op();
        } catch (const Error& error) {
            e.abandon_op();
            if (error.status() != SDN_ERROR_DEVICE || out == nullptr) throw;
            throw Error(error.status(), "with out " + shape_text(*out) + ": " + error.what());
        } catch (...) {
            e.abandon_op();
            throw;
        }
    });
}

}  // namespace sdn::api
