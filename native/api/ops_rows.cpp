// embedding, gather_rows, timestep_embedding.
#include "api/check.h"

using namespace sdn;
using namespace sdn::api;

extern "C" {

sdn_status sdn_embedding(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* ids, const sdn_weight* token,
                         const sdn_weight* position) {
    return run_op("sdn_embedding", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_activation(e, out, "out");
        const sdn_tensor& id = require_dense(ids, "ids", SDN_INT32);
        const Weight& t = require_weight(e, token, "token", {SDN_WEIGHT_EMBEDDING});
        require_rank(id, "ids", 1, 2);
        if (id.rank == 1)
            require_shape(o, "out", {id.shape[0], t.info().columns}, "ids and token give");
        else
            require_shape(o, "out", {id.shape[0], id.shape[1], t.info().columns}, "ids and token give");
        require_apart(o, id, "ids");
        const Weight* added = nullptr;
        if (position != nullptr) {
            added = &require_weight(e, position, "position", {SDN_WEIGHT_EMBEDDING});
            const sdn_weight_info& info = added->info();
            if (info.columns != t.info().columns || info.rows < last_dimension(id))
                fail(SDN_ERROR_SHAPE, "position is [%lld,%lld] but ids %s and token need at least [%lld,%lld]",
                     static_cast<LongLong>(info.rows), static_cast<LongLong>(info.columns), shape_text(id).c_str(),
                     static_cast<LongLong>(last_dimension(id)), static_cast<LongLong>(t.info().columns));
        }
        e.device().embedding(e, o, id, t, added);
    });
}

sdn_status sdn_gather_rows(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* x, const sdn_tensor* rows) {
    return run_op("sdn_gather_rows", exec, out, [&](Exec& e) {
        const sdn_tensor& in = require_dense(x, "x");
        const sdn_tensor& o = require_dense(out, "out", in.dtype);
        const sdn_tensor& r = require_dense(rows, "rows", SDN_INT32);
        require_rank(in, "x", 2, 2);
        require_rank(r, "rows", 1, 1);
        require_shape(o, "out", {r.shape[0], in.shape[1]}, "rows and x give");
        require_apart(o, in, "x");
        require_apart(o, r, "rows");
        e.device().gather_rows(e, o, in, r);
    });
}

sdn_status sdn_timestep_embedding(sdn_exec* exec, const sdn_tensor* out, const sdn_tensor* timesteps, const sdn_timestep_params* params) {
    return run_op("sdn_timestep_embedding", exec, out, [&](Exec& e) {
        const sdn_tensor& o = require_activation(e, out, "out");
        const sdn_tensor& t = require_dense(timesteps, "timesteps", SDN_FLOAT32);
        const sdn_timestep_params& p = require(params, "params");
        require_rank(t, "timesteps", 1, 1);
        require_rank(o, "out", 2, 2);
        require_shape(o, "out", {t.shape[0], o.shape[1]}, "timesteps give");
        require_apart(o, t, "timesteps");
        if (!(p.max_period > 0.0f && p.max_period < 1e30f))
            fail(SDN_ERROR_INVALID_ARGUMENT, "max_period is %g, must be a finite number above 0", static_cast<double>(p.max_period));
        const double half = static_cast<double>(o.shape[1] / 2);
        if (!(static_cast<double>(p.downscale_freq_shift) < half) && o.shape[1] > 1)
            fail(SDN_ERROR_INVALID_ARGUMENT, "downscale_freq_shift is %g, must be less than half of the dimension %lld",
                 static_cast<double>(p.downscale_freq_shift), static_cast<LongLong>(o.shape[1]));
        e.device().timestep_embedding(e, o, t, p);
    });
}

}  // extern "C"
