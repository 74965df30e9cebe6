using StableDiffusion.Native;
using StableDiffusion.Nn;

namespace StableDiffusion.Models.Unet;

/// <summary>What an SDXL UNet takes beside the context, diffusers' <c>added_cond_kwargs</c>.</summary>
/// <param name="TextEmbeds">Pooled text embedding <c>[B,P]</c>.</param>
/// <param name="TimeIds">Float32 <c>[B,N]</c>: original height and width, crop top and left, target height and width, or what the model was trained with.</param>
public readonly record struct AddedConditions(Tensor TextEmbeds, Tensor TimeIds);

/// <summary>
/// All that a UNet computes from the prompt alone, made once for the steps of a generation: keys and values of every cross-attention,
/// and the embedding of the added conditions. It lies in the arena of the exec that made it and goes with that; dispose it to make room
/// for another prompt.
/// </summary>
public sealed class UnetContext : IDisposable
{
    private readonly Dictionary<CrossAttention, Tensor> _keysValues;

    internal UnetContext(long batch, Dictionary<CrossAttention, Tensor> keysValues, Tensor addedEmbedding, Tensor timestepCond) =>
        (Batch, _keysValues, AddedEmbedding, TimestepCond) = (batch, keysValues, addedEmbedding, timestepCond);

    /// <summary>Number of prompts: the batch of a step's prediction. That of its sample divides it.</summary>
    public long Batch { get; }

    internal AttentionContext Attention => new(_keysValues);

    /// <summary>Keys and values of every cross-attention, then the added embedding and the timestep condition where there are any: always in the same order.</summary>
    internal IReadOnlyList<Tensor> Tensors => [.. _keysValues.Values, .. new[] { AddedEmbedding, TimestepCond }.Where(tensor => !tensor.IsNone)];

    /// <summary>One of the same shapes in memory that <paramref name="allocate"/> gives for each of <see cref="Tensors"/>, in their order.</summary>
    internal UnetContext Like(Func<Tensor, Tensor> allocate) => Map(Batch, allocate);

    /// <summary>The entries <c>[start, start+count)</c> of the batch, over the same memory: it goes when this one goes.</summary>
    internal UnetContext Slice(long start, long count) => Map(count, tensor => tensor.Slice(0, start, count));

    internal Tensor AddedEmbedding { get; }

    /// <summary>Embedded guidance scale, for a guidance-distilled model.</summary>
    internal Tensor TimestepCond { get; }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (Tensor tensor in _keysValues.Values)
        {
            tensor.Dispose();
        }
        AddedEmbedding.Dispose();
        TimestepCond.Dispose();
    }

    private UnetContext Map(long batch, Func<Tensor, Tensor> map)
    {
        var keysValues = new Dictionary<CrossAttention, Tensor>();
        foreach ((CrossAttention layer, Tensor tensor) in _keysValues)
        {
            keysValues.Add(layer, map(tensor));
        }
        return new UnetContext(batch, keysValues, AddedEmbedding.IsNone ? default : map(AddedEmbedding), TimestepCond.IsNone ? default : map(TimestepCond));
    }
}
