// The table of one target.
#include "cuda/launchers.h"

namespace sdn::cuda::SDN_TARGET {

#define SDN_STRING_OF(x) #x
#define SDN_STRING(x) SDN_STRING_OF(x)

extern const Ops ops;
const Ops ops = {SDN_STRING(SDN_TARGET),
                 conv2d,
                 linear,
                 attention,
                 group_norm,
                 layer_norm,
                 activation,
                 embedding,
                 gather_rows,
                 timestep_embedding,
                 linear_combination,
                 blend,
                 clamp,
                 dynamic_threshold,
                 rescale_guidance,
                 copy,
                 image_to_uint8,
                 find_nonfinite,
                 philox_normal,
                 pack_rows,
                 pack_bias,
                 pack_phases,
                 unpack_rows,
                 unpack_bias,
                 peak_loop,
                 convert};

}  // namespace sdn::cuda::SDN_TARGET
