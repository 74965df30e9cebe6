// group_norm, layer_norm, activation.
#include "api/check.h"

using namespace sdn;
using namespace sdn::api;

namespace {

void check_eps(float eps) {
    if (!(eps >= 0.0f && eps < 1e30f))
        fail(SDN_ERROR_INVALID_ARGUMENT, "eps is %g, must be a finite number of at least 0", static_cast<double>(eps));
}

void check_channels(const sdn_tensor& out, int64_t channels, const Weight& weight) {
    if (weight.info().rows != channels)
        fail(SDN_ERROR_SHAPE, "out is %s but weight has %lld channels", shape_text(out).c_str(), static_cast<LongLong>(weight.info().rows));
}

}  // namespace

extern "C" {

sdn_status sdn_group_norm(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, const sdn_tensor* x2, const sdn_weight* weight,
                          int32_t groups, float eps, int32_t activation) {
    return run_op("sdn_group_norm", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_activation(e, out, "out");
        const sdn_tensor& in = require_activation_like(x, "x", o);
        const Weight& w = require_weight(e, weight, "weight", {SDN_WEIGHT_NORM});
        if (activation != SDN_ACTIVATION_NONE && activation != SDN_ACTIVATION_SILU)
            fail(SDN_ERROR_INVALID_ARGUMENT, "activation is %d, must be NONE or SILU", activation);
        check_eps(eps);
        require_rank(in, "x", 2, 4);
        sdn_tensor expected = in;
        if (x2 != nullptr) {
            const sdn_tensor& second = require_activation_like(x2, "x2", o);
            sdn_tensor like_x = second;
            if (second.rank == in.rank) like_x.shape[in.rank - 1] = last_dimension(in);
            if (!same_shape(like_x, in))
                fail(SDN_ERROR_SHAPE, "x is %s but x2 is %s: only their channels may differ", shape_text(in).c_str(),
                     shape_text(second).c_str());
            expected.shape[in.rank - 1] += last_dimension(second);
            require_apart(o, second, "x2");
        }
        require_same_shape(o, "out", expected, x2 != nullptr ? "x with x2" : "x");
        require_apart(o, in, "x");
        const int64_t channels = last_dimension(o);
        check_channels(o, channels, w);
        if (groups < 1 || channels % groups != 0)
            fail(SDN_ERROR_SHAPE, "out is %s: %lld channels do not divide into %d groups", shape_text(o).c_str(),
                 static_cast<LongLong>(channels), groups);
        e.device().group_norm(e, o, in, x2, w, groups, eps, activation);
    });
}

sdn_status sdn_layer_norm(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, const sdn_weight* weight, float eps) {
    return run_op("sdn_layer_norm", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_activation(e, out, "out");
        const sdn_tensor& in = require_activation_like(x, "x", o);
        const Weight& w = require_weight(e, weight, "weight", {SDN_WEIGHT_NORM});
        check_eps(eps);
        require_same_shape(o, "out", in, "x");
        check_channels(o, last_dimension(o), w);
        require_apart(o, in, "x");
        e.device().layer_norm(e, o, in, w, eps);
    });
}

sdn_status sdn_activation(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, int32_t activation) {
    return run_op("sdn_activation", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_activation(e, out, "out");
        const sdn_tensor& in = require_activation_like(x, "x", o);
        if (activation < SDN_ACTIVATION_NONE || activation > SDN_ACTIVATION_TANH || activation == SDN_ACTIVATION_GEGLU)
            fail(SDN_ERROR_INVALID_ARGUMENT, "activation is %d, must be NONE, SILU, GELU, QUICK_GELU, RELU or TANH", activation);
        require_same_shape(o, "out", in, "x");
        require_apart_or_same(o, in, "x");
        e.device().activation(e, o, in, activation);
    });
}

}  // extern "C"
