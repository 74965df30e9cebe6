using System.Runtime.InteropServices;

namespace StableDiffusion.Native;

internal static unsafe partial class Interop
{
    [LibraryImport(Library)] internal static partial Status sdn_conv2d(ExecHandle exec, NativeTensor* output, NativeTensor* x, WeightHandle weight, NativeTensor* channelAdd, NativeTensor* residual, Conv2dParams* parameters);
    [LibraryImport(Library)] internal static partial Status sdn_linear(ExecHandle exec, NativeTensor* output, NativeTensor* x, NativeTensor* x2, WeightHandle weight, NativeTensor* residual, int activation);
    [LibraryImport(Library)] internal static partial Status sdn_attention(ExecHandle exec, NativeTensor* output, NativeTensor* q, NativeTensor* k, NativeTensor* v, AttentionParams* parameters);
    [LibraryImport(Library)] internal static partial Status sdn_group_norm(ExecHandle exec, NativeTensor* output, NativeTensor* x, NativeTensor* x2, WeightHandle weight, int groups, float eps, int activation);
    [LibraryImport(Library)] internal static partial Status sdn_layer_norm(ExecHandle exec, NativeTensor* output, NativeTensor* x, WeightHandle weight, float eps);
    [LibraryImport(Library)] internal static partial Status sdn_embedding(ExecHandle exec, NativeTensor* output, NativeTensor* ids, WeightHandle token, nint position);
    [LibraryImport(Library)] internal static partial Status sdn_gather_rows(ExecHandle exec, NativeTensor* output, NativeTensor* x, NativeTensor* rows);
    [LibraryImport(Library)] internal static partial Status sdn_timestep_embedding(ExecHandle exec, NativeTensor* output, NativeTensor* timesteps, TimestepParams* parameters);
    [LibraryImport(Library)] internal static partial Status sdn_activation(ExecHandle exec, NativeTensor* output, NativeTensor* x, int activation);
    [LibraryImport(Library)] internal static partial Status sdn_linear_combination(ExecHandle exec, NativeTensor* output, NativeTensor* inputs, double* coefficients, int count);
    [LibraryImport(Library)] internal static partial Status sdn_blend(ExecHandle exec, NativeTensor* output, NativeTensor* a, NativeTensor* b, NativeTensor* mask);
    [LibraryImport(Library)] internal static partial Status sdn_clamp(ExecHandle exec, NativeTensor* output, NativeTensor* x, float low, float high);
    [LibraryImport(Library)] internal static partial Status sdn_dynamic_threshold(ExecHandle exec, NativeTensor* output, NativeTensor* x, float ratio, float maxValue);
    [LibraryImport(Library)] internal static partial Status sdn_rescale_guidance(ExecHandle exec, NativeTensor* output, NativeTensor* guided, NativeTensor* cond, float factor);
    [LibraryImport(Library)] internal static partial Status sdn_copy(ExecHandle exec, NativeTensor* output, NativeTensor* x);
    [LibraryImport(Library)] internal static partial Status sdn_image_to_uint8(ExecHandle exec, NativeTensor* output, NativeTensor* x);
    [LibraryImport(Library)] internal static partial Status sdn_is_finite(ExecHandle exec, NativeTensor* x, int* finite);
    [LibraryImport(Library)] internal static partial Status sdn_philox_normal(ExecHandle exec, NativeTensor* output, ulong seed, ulong offset, int multiprocessors, int threadsPerMultiprocessor, ulong* nextOffset);
}
