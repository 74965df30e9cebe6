// linear_combination, blend, clamp, dynamic_threshold, rescale_guidance, copy, image_to_uint8, is_finite.
#include "api/check.h"
#include "core/philox.h"

using namespace sdn;
using namespace sdn::api;

namespace {

// An output that may be this input: it is the same memory and dtype, or apart.
void require_apart_or_in_place(const sdn_tensor& out, const sdn_tensor& in, const char* name) {
    if (in.dtype == out.dtype)
        require_apart_or_same(out, in, name);
    else
        require_apart(out, in, name);
}

}  // namespace

extern "C" {

sdn_status sdn_linear_combination(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* inputs, const double* coefficients,
                                  int32_t count) {
    return run_op("sdn_linear_combination", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_activation(e, out, "out");
        require(inputs, "inputs");
        require(coefficients, "coefficients");
        if (count < 1 || count > 8) fail(SDN_ERROR_INVALID_ARGUMENT, "count is %d, must be 1 to 8", count);
        for (int32_t i = 0; i < count; ++i) {
            const std::string name = "inputs[" + std::to_string(i) + "]";
            const sdn_tensor& in = require_activation(e, inputs + i, name.c_str());
            require_same_shape(o, "out", in, name.c_str());
            require_apart_or_in_place(o, in, name.c_str());
            require_finite(coefficients[i], ("coefficients[" + std::to_string(i) + "]").c_str());
        }
        e.device().linear_combination(e, o, inputs, coefficients, count);
    });
}

sdn_status sdn_blend(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* a, const sdn_tensor* b, const sdn_tensor* mask) {
    return run_op("sdn_blend", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_activation(e, out, "out");
        const sdn_tensor& first = require_activation(e, a, "a");
        const sdn_tensor& second = require_activation(e, b, "b");
        const sdn_tensor& m = require_activation(e, mask, "mask");
        require_rank(o, "out", 4, 4);
        require_same_shape(o, "out", first, "a");
        require_same_shape(o, "out", second, "b");
        require_apart_or_in_place(o, first, "a");
        require_apart_or_in_place(o, second, "b");
        require_apart(o, m, "mask");
        const bool fits = m.rank == 4 && (m.shape[0] == o.shape[0] || m.shape[0] == 1) && m.shape[1] == o.shape[1] &&
                          m.shape[2] == o.shape[2] && (m.shape[3] == o.shape[3] || m.shape[3] == 1);
        if (!fits)
            fail(SDN_ERROR_SHAPE, "mask is %s but out is %s: they must be equal, except that mask may have 1 sample or 1 channel",
                 shape_text(m).c_str(), shape_text(o).c_str());
        e.device().blend(e, o, first, second, m);
    });
}

sdn_status sdn_clamp(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, float low, float high) {
    return run_op("sdn_clamp", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_dense(out, "out", SDN_FLOAT32);
        const sdn_tensor& in = require_dense(x, "x", SDN_FLOAT32);
        require_same_shape(o, "out", in, "x");
        require_apart_or_same(o, in, "x");
        if (!(low <= high))
            fail(SDN_ERROR_INVALID_ARGUMENT, "low is %g and high is %g: low must not be above high", static_cast<double>(low),
                 static_cast<double>(high));
        e.device().clamp(e, o, in, low, high);
    });
}

sdn_status sdn_dynamic_threshold(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, float ratio, float max_value) {
    return run_op("sdn_dynamic_threshold", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_dense(out, "out", SDN_FLOAT32);
        const sdn_tensor& in = require_dense(x, "x", SDN_FLOAT32);
        require_same_shape(o, "out", in, "x");
        require_apart_or_same(o, in, "x");
        if (!(ratio >= 0.0f && ratio <= 1.0f)) fail(SDN_ERROR_INVALID_ARGUMENT, "ratio is %g, must be 0 to 1", static_cast<double>(ratio));
        if (!(max_value > 0.0f)) fail(SDN_ERROR_INVALID_ARGUMENT, "max_value is %g, must be above 0", static_cast<double>(max_value));
        e.device().dynamic_threshold(e, o, in, ratio, max_value);
    });
}

sdn_status sdn_rescale_guidance(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* guided, const sdn_tensor* cond, float factor) {
    return run_op("sdn_rescale_guidance", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_dense(out, "out", SDN_FLOAT32);
        const sdn_tensor& g = require_dense(guided, "guided", SDN_FLOAT32);
        const sdn_tensor& c = require_activation(e, cond, "cond");
        require_same_shape(o, "out", g, "guided");
        require_same_shape(c, "cond", g, "guided");
        require_apart_or_same(o, g, "guided");
        require_apart(o, c, "cond");
        require_finite(static_cast<double>(factor), "factor");
        if (element_count(g) / g.shape[0] < 2)
            fail(SDN_ERROR_SHAPE, "guided is %s: a standard deviation needs at least 2 elements per sample", shape_text(g).c_str());
        e.device().rescale_guidance(e, o, g, c, factor);
    });
}

sdn_status sdn_copy(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x) {
    return run_op("sdn_copy", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_tensor(out, "out");
        const sdn_tensor& in = require_tensor(x, "x");
        require_same_shape(o, "out", in, "x");
        require_distinct_elements(o);
        require_apart(o, in, "x");
        e.device().copy(e, o, in);
    });
}

sdn_status sdn_image_to_uint8(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x) {
    return run_op("sdn_image_to_uint8", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_dense(out, "out", SDN_UINT8);
        const sdn_tensor& in = require_activation(e, x, "x");
        require_same_shape(o, "out", in, "x");
        require_apart(o, in, "x");
        e.device().image_to_uint8(e, o, in);
    });
}

sdn_status sdn_philox_normal(sdn_exec* exec, const sdn_tensor* out, uint64_t seed, uint64_t offset, int32_t multiprocessors,
                             int32_t threads_per_multiprocessor, uint64_t* next_offset) {
    return run_op("sdn_philox_normal", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_dense(out, "out", SDN_FLOAT32);
        if (offset % 4 != 0)
            fail(SDN_ERROR_INVALID_ARGUMENT, "offset is %llu, must be a multiple of 4", static_cast<unsigned long long>(offset));
        if (multiprocessors == 0 && threads_per_multiprocessor == 0) {
            const sdn_device_info info = e.device().info();
            multiprocessors = info.multiprocessors;
            threads_per_multiprocessor = info.threads_per_multiprocessor;
            if (multiprocessors == 0)
                fail(SDN_ERROR_INVALID_ARGUMENT,
                     "%s is no GPU: give the multiprocessors and their threads of the GPU whose numbers you want",
                     e.device().name().c_str());
        }
        if (multiprocessors < 1 || multiprocessors > 65535 || threads_per_multiprocessor < kPhiloxBlockThreads ||
            threads_per_multiprocessor > 65536)
            fail(SDN_ERROR_INVALID_ARGUMENT, "%d multiprocessors of %d threads are no GPU: 1 to 65535, of %d to 65536 threads",
                 multiprocessors, threads_per_multiprocessor, kPhiloxBlockThreads);
        const PhiloxLayout layout = philox_layout(element_count(o), multiprocessors, threads_per_multiprocessor);
        if (next_offset != nullptr) *next_offset = offset + layout.draws();
        e.device().philox_normal(e, o, seed, offset, multiprocessors, threads_per_multiprocessor);
    });
}

sdn_status sdn_is_finite(sdn_exec* exec, const sdn_tensor* x, int32_t* finite) {
    return run_op("sdn_is_finite", exec, x, [&](Exec& e) {
        const sdn_tensor& in = require_dense(x, "x");
        require(finite, "finite") = e.device().is_finite(e, in) ? 1 : 0;
    });
}

}  // extern "C"
