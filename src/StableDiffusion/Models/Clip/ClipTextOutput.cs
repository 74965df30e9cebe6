using StableDiffusion.Native;

namespace StableDiffusion.Models.Clip;

/// <summary>What a text encoder shall return; what nobody asks for is not computed.</summary>
public sealed record ClipTextRequest
{
    /// <summary>The last hidden state behind the final norm: the context of SD 1.x and 2.x.</summary>
    public bool LastHiddenState { get; init; } = true;

    /// <summary>The last hidden state at the first end token.</summary>
    public bool PoolerOutput { get; init; }

    /// <summary>The pooled output through the text projection; needs a model that has one.</summary>
    public bool TextEmbeds { get; init; }

    /// <summary>
    /// Which hidden states, without the final norm: 0 is the embeddings, i the output of layer i - 1; negative counts from the end as in
    /// Python, so -1 is the last layer's and -2 the penultimate, the context of SDXL. diffusers' <c>clip_skip</c> k is -(k + 1) for SD,
    /// followed by <see cref="ClipTextModel.FinalLayerNorm"/>, and -(k + 2) for SDXL.
    /// </summary>
    public IReadOnlyList<int> HiddenStates { get; init; } = [];
}

/// <summary>What a text encoder returned, in the exec's arena. Dispose it, or the tensors of it that were taken, after the last use.</summary>
public sealed class ClipTextOutput : IDisposable
{
    private readonly Dictionary<int, Tensor> _hiddenStates;

    internal ClipTextOutput(Dictionary<int, Tensor> hiddenStates, Tensor lastHiddenState, Tensor poolerOutput, Tensor textEmbeds) =>
        (_hiddenStates, LastHiddenState, PoolerOutput, TextEmbeds) = (hiddenStates, lastHiddenState, poolerOutput, textEmbeds);

    /// <summary><c>[B,T,C]</c>, behind the final norm; none if it was not asked for.</summary>
    public Tensor LastHiddenState { get; }

    /// <summary><c>[B,C]</c>; none if it was not asked for.</summary>
    public Tensor PoolerOutput { get; }

    /// <summary><c>[B,projection]</c>; none if it was not asked for.</summary>
    public Tensor TextEmbeds { get; }

    /// <summary>A hidden state <c>[B,T,C]</c>, by the number it was asked for with.</summary>
    /// <exception cref="KeyNotFoundException">It was not asked for.</exception>
    public Tensor HiddenState(int index) => _hiddenStates.TryGetValue(index, out Tensor state)
        ? state
        : throw new KeyNotFoundException($"Hidden state {index} was not asked for, only {string.Join(", ", _hiddenStates.Keys)}.");

    /// <inheritdoc />
    public void Dispose()
    {
        // Two numbers may stand for one state (-1 and the number of layers): free each once.
        foreach (Tensor state in _hiddenStates.Values.DistinctBy(state => state.Data))
        {
            state.Dispose();
        }
        LastHiddenState.Dispose();
        PoolerOutput.Dispose();
        TextEmbeds.Dispose();
    }
}
