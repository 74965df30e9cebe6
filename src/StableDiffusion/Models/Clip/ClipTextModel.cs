using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Weights;

namespace StableDiffusion.Models.Clip;

/// <summary>
/// CLIP's text encoder (Radford et al. 2021, arXiv 2103.00020): a causal transformer over token ids. Equivalent to transformers'
/// <c>CLIPTextModel</c> and, where the config says so, <c>CLIPTextModelWithProjection</c>. Thread-safe.
/// </summary>
public sealed class ClipTextModel : Layer
{
    /// <summary>What configs say for the end token that were written before transformers knew better.</summary>
    private const int LegacyEosTokenId = 2;

    private readonly ClipEmbeddings embeddings;
    private readonly ClipLayer[] layers;
    private readonly LayerNorm final_layer_norm;
    private readonly Linear? text_projection;

    /// <summary>Declares it; <see cref="LayerBuilder.Load"/> makes it usable.</summary>
    public ClipTextModel(LayerBuilder builder, ClipTextConfig config) : base(builder)
    {
        Config = config ?? throw new ArgumentNullException(nameof(config));
        // Files written by transformers from 5.6 on leave the prefix out.
        LayerBuilder text_model = builder.At("text_model", builder.Scope.FirstOf("text_model", ""));
        embeddings = new ClipEmbeddings(text_model["embeddings"], config);
        layers = new ClipLayer[config.NumHiddenLayers];
        for (int i = 0; i < layers.Length; i++)
        {
            layers[i] = new ClipLayer(text_model["encoder"]["layers"][i], config);
        }
        final_layer_norm = new LayerNorm(text_model["final_layer_norm"], config.HiddenSize, config.LayerNormEps);
        text_projection = config.WithProjection ? new Linear(builder["text_projection"], config.HiddenSize, config.ProjectionDim, bias: false) : null;
    }

    /// <summary>Loads a component's folder: <c>config.json</c> and its weights.</summary>
    /// <param name="folder">The folder, such as <c>text_encoder</c>.</param>
    /// <param name="device">Where the weights go.</param>
    /// <param name="storage">How they are kept: Float32, Float16 or BFloat16.</param>
    /// <param name="variant">diffusers' <c>variant</c>, as for <see cref="WeightFolder.Open"/>.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <exception cref="InvalidConfigException">The config cannot be used.</exception>
    /// <exception cref="InvalidWeightsException">The weights cannot be used.</exception>
    public static ClipTextModel Load(string folder, Device device, DType storage = DType.Float32, string? variant = null, CancellationToken cancellation = default)
    {
        ClipTextConfig config = ClipTextConfig.Read(folder);
        return ModelLoader.Load(folder, variant, device, storage, builder => new ClipTextModel(builder, config), Ignored(config), cancellation);
    }

    /// <summary>Loads it from any source of weights.</summary>
    /// <exception cref="InvalidWeightsException">The weights cannot be used.</exception>
    public static ClipTextModel Load(ClipTextConfig config, IWeightSource source, Device device, DType storage = DType.Float32, CancellationToken cancellation = default) =>
        ModelLoader.Load(source, device, storage, builder => new ClipTextModel(builder, config), Ignored(config), cancellation);

    /// <summary>The facts it was built from.</summary>
    public ClipTextConfig Config { get; }

    /// <summary>The norm behind the last layer, to be applied to a hidden state by hand for <c>clip_skip</c>.</summary>
    public LayerNorm FinalLayerNorm => final_layer_norm;

    /// <summary>Encodes a batch of prompts.</summary>
    /// <param name="exec">Where it runs.</param>
    /// <param name="ids">Token ids, one array per prompt, all of one length of at most <see cref="ClipTextConfig.MaxPositionEmbeddings"/>.</param>
    /// <param name="request">What to return; null for the last hidden state.</param>
    /// <exception cref="ArgumentException">Ids outside the vocabulary, or prompts of unequal or excessive length.</exception>
    public ClipTextOutput Forward(Exec exec, IReadOnlyList<int[]> ids, ClipTextRequest? request = null)
    {
        request ??= new ClipTextRequest();
        Check(ids, request);
        using TraceScope trace = Trace(exec);
        Dictionary<int, int> wanted = request.HiddenStates.Distinct().ToDictionary(index => index, Resolve);
        bool finish = request.LastHiddenState || request.PoolerOutput || request.TextEmbeds;
        int needed = finish ? layers.Length : wanted.Values.DefaultIfEmpty(0).Max();

        // 1. Embeddings.
        Tensor tokens = exec.Upload<int>([.. ids.SelectMany(prompt => prompt)], DType.Int32, ids.Count, ids[0].Length);
        Tensor hidden = embeddings.Forward(exec, tokens); // [B,T,C]
        tokens.Dispose();

        // 2. Layers, as many as anything asked for depends on.
        var kept = new Dictionary<int, Tensor>();
        for (int i = 0; ; i++)
        {
            bool keep = wanted.ContainsValue(i);
            if (keep)
            {
                kept[i] = hidden;
            }
            if (i == needed)
            {
                break;
            }
            Tensor next = layers[i].Forward(exec, hidden);
            if (!keep)
            {
                hidden.Dispose();
            }
            hidden = next;
        }

        // 3. Norm, pooling, projection.
        Tensor last = default, pooled = default, projected = default;
        if (finish)
        {
            last = final_layer_norm.Forward(exec, hidden);
        }
        if (!kept.ContainsKey(needed))
        {
            hidden.Dispose();
        }
        if (request.PoolerOutput || request.TextEmbeds)
        {
            pooled = Pool(exec, last, ids);
        }
        if (request.TextEmbeds)
        {
            projected = text_projection!.Forward(exec, pooled);
        }
        return new ClipTextOutput(
            wanted.ToDictionary(pair => pair.Key, pair => kept[pair.Value]),
            Keep(last, request.LastHiddenState), Keep(pooled, request.PoolerOutput), projected);
    }

    /// <summary>The row of each prompt's first end token: <c>[B,T,C]</c> to <c>[B,C]</c>.</summary>
    private Tensor Pool(Exec exec, Tensor last, IReadOnlyList<int[]> ids)
    {
        int length = ids[0].Length;
        int[] rows = [.. ids.Select((prompt, b) => b * length + EndPosition(prompt))];
        Tensor numbers = exec.Upload<int>(rows, DType.Int32, rows.Length);
        Tensor pooled = exec.GatherRows(last.View((long)ids.Count * length, Config.HiddenSize), numbers);
        numbers.Dispose();
        return pooled;
    }

    /// <summary>As transformers: the first end token, the first position where there is none.</summary>
    private int EndPosition(int[] prompt) =>
        Math.Max(0, Array.IndexOf(prompt, Config.EosTokenId == LegacyEosTokenId ? prompt.Max() : Config.EosTokenId));

    private int Resolve(int index) => index < 0 ? index + layers.Length + 1 : index;

    private void Check(IReadOnlyList<int[]> ids, ClipTextRequest request)
    {
        ArgumentNullException.ThrowIfNull(ids);
        if (ids.Count == 0 || ids[0].Length == 0 || ids.Any(prompt => prompt.Length != ids[0].Length))
        {
            throw new ArgumentException("Prompts must be one or more, of equal length in tokens and not empty: pad them to one length.", nameof(ids));
        }
        if (ids[0].Length > Config.MaxPositionEmbeddings)
        {
            throw new ArgumentException($"A prompt has {ids[0].Length} tokens, but the text encoder takes at most {Config.MaxPositionEmbeddings}: cut it.", nameof(ids));
        }
        foreach (int id in ids.SelectMany(prompt => prompt))
        {
            if (id < 0 || id >= Config.VocabSize)
            {
                throw new ArgumentException($"Token id {id} is outside the text encoder's vocabulary, 0..{Config.VocabSize - 1}: use the tokenizer that belongs to it.", nameof(ids));
            }
        }
        if (request.TextEmbeds && text_projection is null)
        {
            throw new ArgumentException("This text encoder has no text projection: its config.json does not name CLIPTextModelWithProjection.", nameof(request));
        }
        foreach (int index in request.HiddenStates)
        {
            if (Resolve(index) < 0 || Resolve(index) > layers.Length)
            {
                throw new ArgumentException($"There is no hidden state {index}: the text encoder has {layers.Length} layers, so {-layers.Length - 1}..{layers.Length}.", nameof(request));
            }
        }
    }

    private static Tensor Keep(Tensor tensor, bool keep)
    {
        if (keep)
        {
            return tensor;
        }
        tensor.Dispose();
        return default;
    }

    /// <summary>A buffer that old files carry; and what transformers too leaves unread where the architecture has no projection.</summary>
    private static string[] Ignored(ClipTextConfig config) => config.WithProjection ? ["position_ids"] : ["position_ids", "text_projection"];
}
