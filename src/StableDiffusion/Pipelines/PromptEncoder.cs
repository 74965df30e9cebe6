using StableDiffusion.Models.Clip;
using StableDiffusion.Native;
using StableDiffusion.Tokenizers;

namespace StableDiffusion.Pipelines;

/// <summary>
/// Prompts to embeddings, as diffusers' encode_prompt: one text encoder's last hidden state (SD 1.x, 2.x), or the penultimate states of
/// two encoders side by side with the second one's pooled text (SDXL).
/// </summary>
internal sealed class PromptEncoder(IReadOnlyList<(ClipTokenizer Tokenizer, ClipTextModel Model)> encoders, bool xl, bool forceZerosForEmptyPrompt)
{
    /// <summary>Tokens per prompt.</summary>
    public int Tokens => encoders[0].Tokenizer.MaxLength;

    /// <summary>Channels of the embeddings.</summary>
    public int Width => encoders.Sum(encoder => encoder.Model.Config.HiddenSize);

    /// <summary>Runs the encoders, in measure mode, for so many prompts.</summary>
    public void Measure(Exec exec, int prompts)
    {
        for (int e = 0; e < encoders.Count; e++)
        {
            RunEncoder(exec, encoders[e].Model, [.. Enumerable.Repeat(new int[Tokens], prompts)], 0, last: e == encoders.Count - 1);
        }
    }

    /// <summary>Encodes prompts and negative prompts, one of each per entry.</summary>
    /// <param name="exec">Where it runs.</param>
    /// <param name="prompts">Per encoder, the prompts.</param>
    /// <param name="negatives">Per encoder, the negative prompts; null: no guidance. An entry of null is no negative prompt.</param>
    /// <param name="clipSkip">Last layers to leave out, positive prompts only.</param>
    public PromptEmbeddings Encode(Exec exec, IReadOnlyList<string>[] prompts, IReadOnlyList<string>?[]? negatives, int clipSkip)
    {
        var warnings = new List<string>();
        (FloatTensor positive, FloatTensor? pooled) = EncodeAll(exec, prompts, clipSkip, warnings);
        var result = new PromptEmbeddings { Prompt = positive, Pooled = pooled, Warnings = warnings };
        if (negatives is null)
        {
            return result;
        }
        if (xl && forceZerosForEmptyPrompt && negatives.All(texts => texts is null))
        {
            return result with { Negative = positive.Scale(0), NegativePooled = pooled?.Scale(0) };
        }
        int count = prompts[0].Count;
        IReadOnlyList<string>[] texts = [.. negatives.Select(n => n ?? Enumerable.Repeat("", count).ToArray())];
        (FloatTensor negative, FloatTensor? negativePooled) = EncodeAll(exec, texts, 0, warnings);
        return result with { Negative = negative, NegativePooled = negativePooled };
    }

    private (FloatTensor Embeds, FloatTensor? Pooled) EncodeAll(Exec exec, IReadOnlyList<string>[] texts, int clipSkip, List<string> warnings)
    {
        var states = new List<FloatTensor>();
        FloatTensor? pooled = null;
        for (int e = 0; e < encoders.Count; e++)
        {
            (ClipTokenizer tokenizer, ClipTextModel model) = encoders[e];
            int[][] ids = [.. texts[e].Select(text => Tokenize(tokenizer, text, warnings))];
            (FloatTensor state, FloatTensor? text) = RunEncoder(exec, model, ids, clipSkip, last: e == encoders.Count - 1);
            states.Add(state);
            pooled = text;
        }
        return (Join(states), pooled);
    }

    private (FloatTensor State, FloatTensor? Pooled) RunEncoder(Exec exec, ClipTextModel model, int[][] ids, int clipSkip, bool last)
    {
        if (xl)
        {
            // The penultimate state without the final norm; the last encoder also gives the pooled text.
            int index = CheckSkip(model, -(clipSkip + 2));
            using ClipTextOutput output = model.Forward(exec, ids, new ClipTextRequest { LastHiddenState = false, HiddenStates = [index], TextEmbeds = last });
            return (Read(exec, output.HiddenState(index)), last ? Read(exec, output.TextEmbeds) : null);
        }
        if (clipSkip == 0)
        {
            using ClipTextOutput output = model.Forward(exec, ids);
            return (Read(exec, output.LastHiddenState), null);
        }
        int skipped = CheckSkip(model, -(clipSkip + 1));
        using ClipTextOutput early = model.Forward(exec, ids, new ClipTextRequest { LastHiddenState = false, HiddenStates = [skipped] });
        using Tensor normed = model.FinalLayerNorm.Forward(exec, early.HiddenState(skipped));
        return (Read(exec, normed), null);
    }

    private static int CheckSkip(ClipTextModel model, int index) => -index <= model.Config.NumHiddenLayers
        ? index
        : throw new ArgumentException($"clip skip: it leaves no layer of the text encoder, which has {model.Config.NumHiddenLayers}");

    private static int[] Tokenize(ClipTokenizer tokenizer, string text, List<string> warnings)
    {
        PaddedPrompt tokens = tokenizer.EncodePadded(text);
        if (tokens.DroppedText.Length > 0)
        {
            string warning = $"The prompt has more than {tokenizer.MaxLength - 2} tokens; left out: \"{Shorten(tokens.DroppedText)}\"";
            if (!warnings.Contains(warning))
            {
                warnings.Add(warning);
            }
        }
        return [.. tokens.Ids];
    }

    private static string Shorten(string text) => text.Length <= 200 ? text : $"{text[..150]} ... {text[^40..]}";

    private static FloatTensor Read(Exec exec, Tensor tensor)
    {
        using Tensor single = exec.Converted(tensor, DType.Float32);
        var values = new float[tensor.Count];
        exec.Read<float>(single, values);
        return new FloatTensor(values, [.. tensor.Shape.Select(side => (int)side)]);
    }

    /// <summary>States <c>[N,T,Ci]</c> side by side: <c>[N,T,sum Ci]</c>.</summary>
    private static FloatTensor Join(List<FloatTensor> states)
    {
        if (states.Count == 1)
        {
            return states[0];
        }
        int rows = states[0][0] * states[0][1], width = states.Sum(state => state[2]);
        var joined = new FloatTensor(states[0][0], states[0][1], width);
        int column = 0;
        foreach (FloatTensor state in states)
        {
            for (int row = 0; row < rows; row++)
            {
                state.Values.AsSpan(row * state[2], state[2]).CopyTo(joined.Values.AsSpan(row * width + column));
            }
            column += state[2];
        }
        return joined;
    }
}
