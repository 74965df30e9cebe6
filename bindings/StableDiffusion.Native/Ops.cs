namespace StableDiffusion.Native;

/// <summary>Activations that a linear layer or norm can end with; the values are those of sdn.h.</summary>
public enum Activation
{
    /// <summary>The identity.</summary>
    None = 0,
    /// <summary>x * sigmoid(x).</summary>
    Silu = 1,
    /// <summary>x * (1 + erf(x/sqrt 2)) / 2.</summary>
    Gelu = 2,
    /// <summary>x * sigmoid(1.702 x).</summary>
    QuickGelu = 3,
    /// <summary>value * gelu(gate); only for a linear layer whose weight was packed as value|gate.</summary>
    Geglu = 4,
    /// <summary>max(x, 0).</summary>
    Relu = 5,
    /// <summary>The hyperbolic tangent.</summary>
    Tanh = 6,
}

/// <summary>Zero padding of a convolution, in pixels.</summary>
public readonly record struct Padding(int Top, int Left, int Bottom, int Right)
{
    /// <summary>The same on all sides.</summary>
    public static Padding All(int pixels) => new(pixels, pixels, pixels, pixels);
}

/// <summary>
/// The ops, as methods of <see cref="Exec"/>. Each allocates its output in the arena and returns it, unless it is given one; optional inputs
/// are <c>default</c> when absent. Shapes that do not fit throw <see cref="ArgumentException"/> naming op and shapes; a cancelled exec throws
/// <see cref="OperationCanceledException"/>. Formulas are in native/include/sdn.h.
/// </summary>
public static unsafe class Ops
{
    /// <summary>Convolution of <paramref name="x"/> <c>[B,H,W,C]</c> to <c>[B,Ho,Wo,O]</c>, with bias.</summary>
    /// <param name="exec">Where it runs.</param>
    /// <param name="x">Input, NHWC.</param>
    /// <param name="weight">A <see cref="WeightKind.Conv2d"/> weight.</param>
    /// <param name="kernel">Its height and width.</param>
    /// <param name="padding">Zeros around the (upsampled) input.</param>
    /// <param name="stride">1 or 2.</param>
    /// <param name="channelAdd"><c>[B,O]</c>, added to every pixel (the time embedding).</param>
    /// <param name="residual">Like the output, added last.</param>
    /// <param name="upsampleTo">Height and width that x is resized to first, by nearest neighbour; (0,0) = not at all.</param>
    public static Tensor Conv2d(this Exec exec, Tensor x, Weight weight, (int Height, int Width) kernel, Padding padding, int stride = 1,
        Tensor channelAdd = default, Tensor residual = default, (int Height, int Width) upsampleTo = default)
    {
        long height = upsampleTo.Height > 0 ? upsampleTo.Height : x[1], width = upsampleTo.Width > 0 ? upsampleTo.Width : x[2];
        long outHeight = (height + padding.Top + padding.Bottom - kernel.Height) / stride + 1;
        long outWidth = (width + padding.Left + padding.Right - kernel.Width) / stride + 1;
        Tensor output = exec.Alloc(x.DType, x[0], outHeight, outWidth, weight.Rows);
        NativeTensor o = output.Native, i = x.Native, c = channelAdd.Native, r = residual.Native;
        var p = new Conv2dParams
        {
            Stride = stride,
            PadTop = padding.Top,
            PadLeft = padding.Left,
            PadBottom = padding.Bottom,
            PadRight = padding.Right,
            UpsampleHeight = upsampleTo.Height,
            UpsampleWidth = upsampleTo.Width,
        };
        exec.Check(Interop.sdn_conv2d(exec.Handle, &o, &i, weight.Handle, OrNull(&c), OrNull(&r), &p));
        return output;
    }

    /// <summary><c>activation([x | x2] W^T + bias) + residual</c> over the last dimension: <c>[...,K]</c> to <c>[...,N]</c> (GEGLU: <c>N/2</c>).</summary>
    public static Tensor Linear(this Exec exec, Tensor x, Weight weight, Tensor x2 = default, Tensor residual = default, Activation activation = Activation.None)
    {
        Tensor output = exec.Alloc(x.DType, WithLast(x, activation == Activation.Geglu ? weight.Rows / 2 : weight.Rows));
        NativeTensor o = output.Native, i = x.Native, j = x2.Native, r = residual.Native;
        exec.Check(Interop.sdn_linear(exec.Handle, &o, &i, OrNull(&j), weight.Handle, OrNull(&r), (int)activation));
        return output;
    }

    /// <summary>
    /// <c>softmax(scale q k^T) v</c> per head. q <c>[B,Sq,H*D]</c>, k and v <c>[B,Sk,H*D]</c>, rows of any stride; scale defaults to 1/sqrt(D).
    /// <paramref name="operands"/> is the type of the weights beside: a CPU device that multiplies these in 16 bits (<see cref="DeviceInfo.ProductDTypeFor"/>) rounds
    /// what is multiplied here, too; beside Int8 to Float16, where that is its <see cref="DeviceInfo.ProductDType"/>.
    /// </summary>
    public static Tensor Attention(this Exec exec, Tensor q, Tensor k, Tensor v, int heads, bool causal = false, float? scale = null, DType operands = DType.Float32)
    {
        Tensor output = exec.Alloc(q.DType, q.Shape);
        NativeTensor o = output.Native, nq = q.Native, nk = k.Native, nv = v.Native;
        var p = new AttentionParams { Heads = heads, Causal = causal ? 1 : 0, Scale = scale ?? (float)(1.0 / Math.Sqrt((double)q[-1] / heads)), Operands = (int)operands };
        exec.Check(Interop.sdn_attention(exec.Handle, &o, &nq, &nk, &nv, &p));
        return output;
    }

    /// <summary>Group norm of <c>[x | x2]</c>, channels last, with an optional SiLU.</summary>
    public static Tensor GroupNorm(this Exec exec, Tensor x, Weight weight, int groups, float eps, Tensor x2 = default, Activation activation = Activation.None)
    {
        Tensor output = exec.Alloc(x.DType, WithLast(x, weight.Rows));
        NativeTensor o = output.Native, i = x.Native, j = x2.Native;
        exec.Check(Interop.sdn_group_norm(exec.Handle, &o, &i, OrNull(&j), weight.Handle, groups, eps, (int)activation));
        return output;
    }

    /// <summary>Layer norm over the last dimension.</summary>
    public static Tensor LayerNorm(this Exec exec, Tensor x, Weight weight, float eps)
    {
        Tensor output = exec.Alloc(x.DType, x.Shape);
        NativeTensor o = output.Native, i = x.Native;
        exec.Check(Interop.sdn_layer_norm(exec.Handle, &o, &i, weight.Handle, eps));
        return output;
    }

    /// <summary><c>token[ids] + position</c>: ids int32 <c>[B,T]</c> to <c>[B,T,C]</c> of that dtype; position may be null.</summary>
    public static Tensor Embedding(this Exec exec, Tensor ids, Weight token, Weight? position = null, DType dtype = DType.Float32)
    {
        Tensor output = exec.Alloc(dtype, ids[0], ids[1], token.Columns);
        NativeTensor o = output.Native, i = ids.Native;
        exec.Check(Interop.sdn_embedding(exec.Handle, &o, &i, token.Handle, position?.Handle.DangerousGetHandle() ?? 0));
        GC.KeepAlive(position);
        return output;
    }

    /// <summary>Rows of x <c>[R,C]</c> by their int32 numbers <c>[M]</c>: <c>[M,C]</c>.</summary>
    public static Tensor GatherRows(this Exec exec, Tensor x, Tensor rows)
    {
        Tensor output = exec.Alloc(x.DType, rows[0], x[1]);
        NativeTensor o = output.Native, i = x.Native, r = rows.Native;
        exec.Check(Interop.sdn_gather_rows(exec.Handle, &o, &i, &r));
        return output;
    }

    /// <summary>Sinusoidal embedding of timesteps <c>[N]</c> (float32): <c>[N,dim]</c>, as diffusers' get_timestep_embedding; computed in float32, stored as that dtype.</summary>
    public static Tensor TimestepEmbedding(this Exec exec, Tensor timesteps, long dim, bool flipSinToCos, float downscaleFreqShift, float maxPeriod = 10000,
        DType dtype = DType.Float32)
    {
        Tensor output = exec.Alloc(dtype, timesteps[0], dim);
        NativeTensor o = output.Native, i = timesteps.Native;
        var p = new TimestepParams { FlipSinToCos = flipSinToCos ? 1 : 0, DownscaleFreqShift = downscaleFreqShift, MaxPeriod = maxPeriod };
        exec.Check(Interop.sdn_timestep_embedding(exec.Handle, &o, &i, &p));
        return output;
    }

    /// <summary>The activation of each element.</summary>
    public static Tensor Activate(this Exec exec, Tensor x, Activation activation)
    {
        Tensor output = exec.Alloc(x.DType, x.Shape);
        NativeTensor o = output.Native, i = x.Native;
        exec.Check(Interop.sdn_activation(exec.Handle, &o, &i, (int)activation));
        return output;
    }

    /// <summary>The activation of each element, into <paramref name="output"/>, which may be x.</summary>
    public static void Activate(this Exec exec, Tensor output, Tensor x, Activation activation)
    {
        NativeTensor o = output.Native, i = x.Native;
        exec.Check(Interop.sdn_activation(exec.Handle, &o, &i, (int)activation));
    }

    /// <summary>
    /// <c>sum coefficients[i] * inputs[i]</c> into <paramref name="output"/>, which may be one of the 1 to 8 inputs. On a CUDA device each tensor
    /// may have a floating dtype of its own.
    /// </summary>
    public static void LinearCombination(this Exec exec, Tensor output, ReadOnlySpan<Tensor> inputs, ReadOnlySpan<double> coefficients)
    {
        if (inputs.Length != coefficients.Length)
        {
            throw new ArgumentException($"{inputs.Length} inputs but {coefficients.Length} coefficients");
        }
        NativeTensor o = output.Native;
        NativeTensor* i = stackalloc NativeTensor[inputs.Length];
        for (int n = 0; n < inputs.Length; n++)
        {
            i[n] = inputs[n].Native;
        }
        fixed (double* c = coefficients)
        {
            exec.Check(Interop.sdn_linear_combination(exec.Handle, &o, i, c, inputs.Length));
        }
    }

    /// <summary>
    /// <c>(1 - mask) a + mask b</c> of <c>[B,H,W,C]</c> into <paramref name="output"/>, which may be a or b. The mask has 1 sample or B, and 1
    /// channel or C. On a CUDA device each tensor may have a floating dtype of its own.
    /// </summary>
    public static void Blend(this Exec exec, Tensor output, Tensor a, Tensor b, Tensor mask)
    {
        NativeTensor o = output.Native, x = a.Native, y = b.Native, m = mask.Native;
        exec.Check(Interop.sdn_blend(exec.Handle, &o, &x, &y, &m));
    }

    /// <summary>Clamps each element into <c>[low, high]</c>; output may be x.</summary>
    public static void Clamp(this Exec exec, Tensor output, Tensor x, float low, float high)
    {
        NativeTensor o = output.Native, i = x.Native;
        exec.Check(Interop.sdn_clamp(exec.Handle, &o, &i, low, high));
    }

    /// <summary>Dynamic thresholding per sample of <c>[B,...]</c>; output may be x.</summary>
    public static void DynamicThreshold(this Exec exec, Tensor output, Tensor x, float ratio, float maxValue)
    {
        NativeTensor o = output.Native, i = x.Native;
        exec.Check(Interop.sdn_dynamic_threshold(exec.Handle, &o, &i, ratio, maxValue));
    }

    /// <summary>diffusers' rescale_noise_cfg; output may be guided. On a CUDA device the conditional one may be in half precision.</summary>
    public static void RescaleGuidance(this Exec exec, Tensor output, Tensor guided, Tensor conditional, float factor)
    {
        NativeTensor o = output.Native, g = guided.Native, c = conditional.Native;
        exec.Check(Interop.sdn_rescale_guidance(exec.Handle, &o, &g, &c, factor));
    }

    /// <summary>Copies x into output of the same shape: converts dtype, follows any strides of either.</summary>
    public static void Copy(this Exec exec, Tensor output, Tensor x)
    {
        NativeTensor o = output.Native, i = x.Native;
        exec.Check(Interop.sdn_copy(exec.Handle, &o, &i));
    }

    /// <summary>A dense copy, perhaps in another dtype: NCHW to NHWC is <c>Contiguous(x.Permute(0,2,3,1))</c>.</summary>
    public static Tensor Contiguous(this Exec exec, Tensor x, DType? dtype = null)
    {
        Tensor output = exec.Alloc(dtype ?? x.DType, x.Shape);
        exec.Copy(output, x);
        return output;
    }

    /// <summary>The dense x in that dtype: a view of it where it has it already, else a copy. Dispose it after its last use in either case.</summary>
    public static Tensor Converted(this Exec exec, Tensor x, DType dtype) => x.IsNone ? x : x.DType == dtype ? x.View(x.Shape) : exec.Contiguous(x, dtype);

    /// <summary>
    /// The dense x <c>[N,...]</c> so often one after another that there are that many entries, a multiple of N; as torch's repeat. A view where it
    /// has as many already, else a copy. Dispose it after its last use in either case.
    /// </summary>
    public static Tensor Repeated(this Exec exec, Tensor x, long entries)
    {
        if (x.IsNone || x[0] == entries)
        {
            return x.IsNone ? x : x.View(x.Shape);
        }
        if (entries < 1 || entries % x[0] != 0)
        {
            throw new ArgumentException($"{x} cannot be repeated to {entries} entries: that is no multiple of {x[0]}");
        }
        long[] shape = x.Shape;
        shape[0] = entries;
        long times = entries / x[0];
        Tensor output = exec.Alloc(x.DType, shape);
        exec.Copy(output.View(times, x.Count), x.View(1, x.Count).Expand(times, x.Count));
        return output;
    }

    /// <summary><c>round(255 * clamp(x/2 + 1/2, 0, 1))</c>, half to even, as uint8.</summary>
    public static Tensor ImageToUInt8(this Exec exec, Tensor x)
    {
        Tensor output = exec.Alloc(DType.UInt8, x.Shape);
        NativeTensor o = output.Native, i = x.Native;
        exec.Check(Interop.sdn_image_to_uint8(exec.Handle, &o, &i));
        return output;
    }

    /// <summary>Whether no element is NaN or infinite. True while measuring.</summary>
    public static bool IsFinite(this Exec exec, Tensor x)
    {
        NativeTensor i = x.Native;
        int finite;
        exec.Check(Interop.sdn_is_finite(exec.Handle, &i, &finite));
        return finite != 0;
    }

    /// <summary>
    /// Fills a float32 tensor with standard normals as <c>torch.randn</c> draws them on a GPU with that many multiprocessors of that many
    /// threads (0: those of this device), which for large tensors decides which draw goes where.
    /// </summary>
    /// <param name="exec">Where it runs.</param>
    /// <param name="output">Dense float32.</param>
    /// <param name="seed">Of the generator.</param>
    /// <param name="offset">What the generator has drawn so far, a multiple of 4.</param>
    /// <param name="multiprocessors">Of the GPU whose draws are wanted.</param>
    /// <param name="threadsPerMultiprocessor">Of the GPU whose draws are wanted.</param>
    /// <returns>The offset after this draw.</returns>
    public static ulong PhiloxNormal(this Exec exec, Tensor output, ulong seed, ulong offset, int multiprocessors = 0, int threadsPerMultiprocessor = 0)
    {
        NativeTensor o = output.Native;
        ulong next;
        exec.Check(Interop.sdn_philox_normal(exec.Handle, &o, seed, offset, multiprocessors, threadsPerMultiprocessor, &next));
        return next;
    }

    private static NativeTensor* OrNull(NativeTensor* tensor) => tensor->Rank == 0 ? null : tensor;

    private static long[] WithLast(Tensor x, long last)
    {
        long[] shape = x.Shape;
        shape[^1] = last;
        return shape;
    }
}
