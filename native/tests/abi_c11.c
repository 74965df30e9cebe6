/* sdn.h must be plain C11, and these are the sizes that a caller in C sees. */
#include "sdn.h"

int64_t sdn_c11_struct_size(int32_t kind);

int64_t sdn_c11_struct_size(int32_t kind) {
    switch (kind) {
        case SDN_STRUCT_TENSOR:
            return (int64_t)sizeof(sdn_tensor);
        case SDN_STRUCT_DEVICE_INFO:
            return (int64_t)sizeof(sdn_device_info);
        case SDN_STRUCT_WEIGHT_DESC:
            return (int64_t)sizeof(sdn_weight_desc);
        case SDN_STRUCT_WEIGHT_INFO:
            return (int64_t)sizeof(sdn_weight_info);
        case SDN_STRUCT_EXEC_STATS:
            return (int64_t)sizeof(sdn_exec_stats);
        case SDN_STRUCT_CONV2D_PARAMS:
            return (int64_t)sizeof(sdn_conv2d_params);
        case SDN_STRUCT_ATTENTION_PARAMS:
            return (int64_t)sizeof(sdn_attention_params);
        case SDN_STRUCT_TIMESTEP_PARAMS:
            return (int64_t)sizeof(sdn_timestep_params);
        default:
            return -1;
    }
}
