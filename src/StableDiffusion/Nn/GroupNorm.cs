using StableDiffusion.Native;

namespace StableDiffusion.Nn;

/// <summary>Group normalisation over NHWC images (Wu and He 2018, arXiv 1803.08494), with scale and shift per channel.</summary>
public sealed class GroupNorm : Layer
{
    private readonly PackedWeight _weight;
    private readonly int _groups;
    private readonly float _eps;

    /// <summary>Declares it for that many channels, of both inputs together.</summary>
    public GroupNorm(LayerBuilder builder, long channels, int groups, float eps) : base(builder)
    {
        if (groups < 1 || channels % groups != 0)
        {
            throw new ArgumentException($"'{builder.Path}': {channels} channels cannot be divided into {groups} groups.");
        }
        _weight = builder.Norm(channels);
        (_groups, _eps) = (groups, eps);
    }

    /// <summary><c>activation(norm([x | x2]))</c>: <c>[B,H,W,C1]</c> and perhaps <c>[B,H,W,C2]</c> to <c>[B,H,W,C1+C2]</c>.</summary>
    public Tensor Forward(Exec exec, Tensor x, Tensor x2 = default, Activation activation = Activation.None)
    {
        using TraceScope trace = Trace(exec);
        return exec.GroupNorm(x, _weight.Value, _groups, _eps, x2, activation);
    }
}
