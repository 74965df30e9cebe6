using StableDiffusion.Native;

namespace StableDiffusion.Nn;

/// <summary>Sinusoidal embedding of numbers, as diffusers' <c>Timesteps</c> (Ho et al. 2020, arXiv 2006.11239). It has no weights.</summary>
public sealed class Timesteps : Layer
{
    private readonly long _channels;
    private readonly bool _flipSinToCos;
    private readonly float _freqShift;

    /// <summary>An embedding of that many channels; with <paramref name="flipSinToCos"/> the cosines come first.</summary>
    public Timesteps(LayerBuilder builder, long channels, bool flipSinToCos, float freqShift) : base(builder) =>
        (_channels, _flipSinToCos, _freqShift) = (channels, flipSinToCos, freqShift);

    /// <summary>Float32 <c>[N]</c> to <c>[N,channels]</c>.</summary>
    public Tensor Forward(Exec exec, Tensor timesteps)
    {
        using TraceScope trace = Trace(exec);
        return exec.TimestepEmbedding(timesteps, _channels, _flipSinToCos, _freqShift, dtype: ActivationDType);
    }
}

/// <summary>The two-layer network behind a sinusoidal embedding: <c>linear_2(silu(linear_1(x)))</c>.</summary>
public sealed class TimestepEmbedding : Layer
{
    private readonly Linear linear_1;
    private readonly Linear? cond_proj;
    private readonly Linear linear_2;

    /// <summary>Declares it.</summary>
    /// <param name="builder">Its place.</param>
    /// <param name="inputs">Channels in, of both inputs together.</param>
    /// <param name="outputs">Channels of the embedding.</param>
    /// <param name="conditionInputs">Channels of a condition that is projected onto the input (guidance-distilled models), or null.</param>
    public TimestepEmbedding(LayerBuilder builder, long inputs, long outputs, long? conditionInputs = null) : base(builder)
    {
        linear_1 = new Linear(builder["linear_1"], inputs, outputs);
        cond_proj = conditionInputs is { } channels ? new Linear(builder["cond_proj"], channels, inputs, bias: false) : null;
        linear_2 = new Linear(builder["linear_2"], outputs, outputs);
    }

    /// <summary><c>[B,inputs]</c>, in one part or two, to <c>[B,outputs]</c>; plus <paramref name="residual"/>, where given.</summary>
    public Tensor Forward(Exec exec, Tensor x, Tensor x2 = default, Tensor condition = default, Tensor residual = default)
    {
        using TraceScope trace = Trace(exec);
        Tensor conditioned = cond_proj is null || condition.IsNone ? default : cond_proj.Forward(exec, condition, residual: x);
        Tensor hidden = linear_1.Forward(exec, conditioned.IsNone ? x : conditioned, x2, activation: Activation.Silu);
        conditioned.Dispose();
        Tensor output = linear_2.Forward(exec, hidden, residual: residual);
        hidden.Dispose();
        return output;
    }
}
