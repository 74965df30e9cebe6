using StableDiffusion.Native;

namespace StableDiffusion.Nn;

/// <summary>A table of vectors looked up by number.</summary>
public sealed class Embedding : Layer
{
    private readonly PackedWeight _weight;

    /// <summary>Declares a table <c>[rows, columns]</c>.</summary>
    public Embedding(LayerBuilder builder, long rows, long columns) : base(builder) => _weight = builder.Table(rows, columns);

    /// <summary>
    /// <c>table[ids]</c>, and with positions <c>+ positions[0..T-1]</c>: int32 ids <c>[B,T]</c> to <c>[B,T,columns]</c>.
    /// </summary>
    public Tensor Forward(Exec exec, Tensor ids, Embedding? positions = null)
    {
        using TraceScope trace = Trace(exec);
        return exec.Embedding(ids, _weight.Value, positions?._weight.Value, ActivationDType);
    }
}
