using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Weights;

namespace StableDiffusion.Models.Unet;

/// <summary>
/// The denoising network of latent diffusion (Ronneberger et al. 2015, arXiv 1505.04597; Rombach et al. 2021, arXiv 2112.10752),
/// equivalent to diffusers' <c>UNet2DConditionModel</c> for SD 1.x, SD 2.x and SDXL. Thread-safe.
/// </summary>
public sealed class UNet2DConditionModel : Layer
{
    private readonly Timesteps time_proj;
    private readonly TimestepEmbedding time_embedding;
    private readonly Timesteps? add_time_proj;
    private readonly TimestepEmbedding? add_embedding;
    private readonly Conv2d conv_in;
    private readonly UnetDownBlock2D[] down_blocks;
    private readonly UNetMidBlock2DCrossAttn mid_block;
    private readonly UnetUpBlock2D[] up_blocks;
    private readonly GroupNorm conv_norm_out;
    private readonly Conv2d conv_out;
    private readonly ResnetBlock2D[] _timed;

    /// <summary>Declares it; <see cref="LayerBuilder.Load"/> makes it usable.</summary>
    public UNet2DConditionModel(LayerBuilder builder, UnetConfig config) : base(builder)
    {
        Config = config ?? throw new ArgumentNullException(nameof(config));
        int channels = config.BlockOutChannels[0], levels = config.Levels;
        conv_in = new Conv2d(builder["conv_in"], config.InChannels, channels, config.ConvInKernel);
        time_proj = new Timesteps(builder["time_proj"], channels, config.FlipSinToCos, config.FreqShift);
        time_embedding = new TimestepEmbedding(builder["time_embedding"], channels, config.TimeEmbedDim, config.TimeCondProjDim);
        if (config.AddTextTime)
        {
            add_time_proj = new Timesteps(builder["add_time_proj"], config.AdditionTimeEmbedDim, config.FlipSinToCos, config.FreqShift);
            add_embedding = new TimestepEmbedding(builder["add_embedding"], config.ProjectionClassEmbeddingsInputDim, config.TimeEmbedDim);
        }
        down_blocks = [.. Enumerable.Range(0, levels).Select(i => new UnetDownBlock2D(builder["down_blocks"][i], config, i))];
        mid_block = new UNetMidBlock2DCrossAttn(builder["mid_block"], config);
        up_blocks = [.. Enumerable.Range(0, levels).Select(i => new UnetUpBlock2D(builder["up_blocks"][i], config, i))];
        conv_norm_out = new GroupNorm(builder["conv_norm_out"], channels, config.NormNumGroups, config.NormEps);
        conv_out = new Conv2d(builder["conv_out"], channels, config.OutChannels, config.ConvOutKernel);
        _timed = [.. Inside<ResnetBlock2D>()];
    }

    /// <summary>Loads a component's folder: <c>config.json</c> and its weights.</summary>
    /// <param name="folder">The folder, such as <c>unet</c>.</param>
    /// <param name="device">Where the weights go.</param>
    /// <param name="storage">How they are kept: Float32, Float16 or BFloat16.</param>
    /// <param name="variant">diffusers' <c>variant</c>, as for <see cref="WeightFolder.Open"/>.</param>
    /// <param name="cancellation">Stops loading.</param>
    /// <exception cref="InvalidConfigException">The config cannot be used.</exception>
    /// <exception cref="InvalidWeightsException">The weights cannot be used.</exception>
    public static UNet2DConditionModel Load(string folder, Device device, DType storage = DType.Float32, string? variant = null, CancellationToken cancellation = default)
    {
        UnetConfig config = UnetConfig.Read(folder);
        return ModelLoader.Load(folder, variant, device, storage, builder => new UNet2DConditionModel(builder, config), [], cancellation);
    }

    /// <summary>Loads it from any source of weights.</summary>
    /// <exception cref="InvalidWeightsException">The weights cannot be used.</exception>
    public static UNet2DConditionModel Load(UnetConfig config, IWeightSource source, Device device, DType storage = DType.Float32, CancellationToken cancellation = default) =>
        ModelLoader.Load(source, device, storage, builder => new UNet2DConditionModel(builder, config), [], cancellation);

    /// <summary>The facts it was built from.</summary>
    public UnetConfig Config { get; private set; }

    /// <summary>Corrects the latents' side that it was trained at, which for some files is known only once the weights can be asked. Before anybody else has the model.</summary>
    internal void TrainedAt(int side) => Config = Config with { SampleSize = (side, side) };

    /// <summary>Computes once what depends on the prompt alone, for use in every step.</summary>
    /// <param name="exec">Where it runs, and in whose arena the result lies.</param>
    /// <param name="encoderHiddenStates">The text encoder's hidden states <c>[B,T,C]</c>.</param>
    /// <param name="added">Pooled text and picture sizes, for a model that takes them.</param>
    /// <param name="timestepCond">Embedded guidance scale <c>[B,time_cond_proj_dim]</c>, for a guidance-distilled model.</param>
    public UnetContext PrepareContext(Exec exec, Tensor encoderHiddenStates, AddedConditions added = default, Tensor timestepCond = default)
    {
        CheckContext(encoderHiddenStates);
        CheckAdded(added, encoderHiddenStates[0]);
        var keysValues = new Dictionary<CrossAttention, Tensor>();
        using Tensor tokens = exec.Converted(encoderHiddenStates, ActivationDType);
        foreach (CrossAttention attention in Inside<CrossAttention>())
        {
            keysValues.Add(attention, attention.KeysValues(exec, tokens));
        }
        CheckTimestepCond(timestepCond, encoderHiddenStates[0]);
        Tensor guidance = timestepCond.IsNone ? default : exec.Contiguous(timestepCond, ActivationDType);
        return new UnetContext(encoderHiddenStates[0], keysValues, EmbedAdded(exec, added), guidance);
    }

    /// <summary>Computes once what depends on the timesteps and the prompt, but not on the latents: what each residual block adds in every step.</summary>
    /// <param name="exec">Where it runs, and in whose arena the result lies.</param>
    /// <param name="timesteps">Of every call, each the same for the whole batch.</param>
    /// <param name="context">The prompt, of which only added conditions matter.</param>
    public UnetSchedule PrepareSchedule(Exec exec, ReadOnlySpan<float> timesteps, UnetContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        long calls = timesteps.Length, entries = TimeEntries(context), rows = calls * entries;
        Tensor table = exec.Alloc(ActivationDType, calls, TimeRow(context));
        var each = new float[rows];
        for (int i = 0; i < each.Length; i++)
        {
            each[i] = timesteps[(int)(i / entries)];
        }
        using Tensor steps = exec.Upload<float>(each, DType.Float32, rows);
        using Tensor condition = exec.Repeated(context.TimestepCond, rows), added = exec.Repeated(context.AddedEmbedding, rows);
        using Tensor embedding = EmbedTime(exec, steps, rows, condition, added);
        long first = 0;
        foreach (ResnetBlock2D block in _timed)
        {
            using Tensor projected = block.ProjectTime(exec, embedding); // [calls*entries,O]
            long length = entries * block.TimeChannels;
            exec.Copy(table.Slice(1, first, length), projected.View(calls, length));
            first += length;
        }
        return new UnetSchedule(this, table);
    }

    /// <summary>One evaluation, with keys and values of the context made anew.</summary>
    /// <param name="exec">Where it runs.</param>
    /// <param name="sample">
    /// Noisy latents <c>[S,H,W,in_channels]</c> of any floating type, scaled as the scheduler wants; any H and W. S is the context's batch B or divides it:
    /// then entry i of the context goes with entry i mod S of the sample, and what does not depend on the prompt is computed once for all of its parts.
    /// </param>
    /// <param name="timesteps">One timestep for the batch, one per entry of the sample, or one per entry of the context; fractions are fine.</param>
    /// <param name="encoderHiddenStates">The text encoder's hidden states <c>[B,T,C]</c>.</param>
    /// <param name="added">Pooled text and picture sizes, for a model that takes them.</param>
    /// <param name="timestepCond">Embedded guidance scale <c>[B,time_cond_proj_dim]</c>, for a guidance-distilled model.</param>
    /// <returns>The model's prediction <c>[B,H,W,out_channels]</c>, in <see cref="Layer.ActivationDType"/>.</returns>
    public Tensor Forward(Exec exec, Tensor sample, ReadOnlySpan<float> timesteps, Tensor encoderHiddenStates,
        AddedConditions added = default, Tensor timestepCond = default)
    {
        CheckContext(encoderHiddenStates);
        CheckSample(sample, encoderHiddenStates[0]);
        CheckAdded(added, encoderHiddenStates[0]);
        CheckTimesteps(timesteps.Length, sample[0], encoderHiddenStates[0]);
        using Tensor steps = exec.Upload(timesteps, DType.Float32, timesteps.Length);
        using Tensor addedEmbedding = EmbedAdded(exec, added);
        using Tensor embedding = EmbedTime(exec, steps, encoderHiddenStates[0], timestepCond, addedEmbedding);
        using Tensor tokens = exec.Converted(encoderHiddenStates, ActivationDType);
        return Denoise(exec, sample, new TimeContext(embedding), new AttentionContext(tokens));
    }

    /// <summary>One evaluation, with what <see cref="PrepareContext"/> made of the prompt.</summary>
    /// <inheritdoc cref="Forward(Exec, Tensor, ReadOnlySpan{float}, Tensor, AddedConditions, Tensor)"/>
    public Tensor Forward(Exec exec, Tensor sample, ReadOnlySpan<float> timesteps, UnetContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        CheckTimesteps(timesteps.Length, sample[0], context.Batch);
        using Tensor steps = exec.Upload(timesteps, DType.Float32, timesteps.Length);
        return Forward(exec, sample, steps, context);
    }

    /// <summary>The same with the timesteps on the device, float32 <c>[1, S or B]</c>: nothing moves between host and device, so it can be captured.</summary>
    /// <inheritdoc cref="Forward(Exec, Tensor, ReadOnlySpan{float}, Tensor, AddedConditions, Tensor)"/>
    public Tensor Forward(Exec exec, Tensor sample, Tensor timesteps, UnetContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        CheckSample(sample, context.Batch);
        CheckTimesteps(timesteps[0], sample[0], context.Batch);
        using Tensor embedding = EmbedTime(exec, timesteps, context.Batch, context.TimestepCond, context.AddedEmbedding);
        return Denoise(exec, sample, new TimeContext(embedding), context.Attention);
    }

    /// <summary>One step of a schedule, with what <see cref="PrepareSchedule"/> made of it: <c>unet.Forward(exec, sample, schedule[call], context)</c>.</summary>
    /// <inheritdoc cref="Forward(Exec, Tensor, ReadOnlySpan{float}, Tensor, AddedConditions, Tensor)"/>
    public Tensor Forward(Exec exec, Tensor sample, TimeContext time, UnetContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        CheckSample(sample, context.Batch);
        CheckTimesteps(time.Entries, sample[0], context.Batch);
        return Denoise(exec, sample, time, context.Attention);
    }

    /// <summary>Values of a step's row in a <see cref="UnetSchedule"/>: for each residual block in turn <c>[entries,O]</c>.</summary>
    internal long TimeRow(UnetContext context) => TimeEntries(context) * _timed.Sum(block => block.TimeChannels);

    /// <summary>That row <c>[1,length]</c>, wherever it lies, as the residual blocks take it.</summary>
    internal TimeContext TimeOf(Tensor row)
    {
        var projections = new Dictionary<ResnetBlock2D, Tensor>();
        long entries = row.Count / _timed.Sum(block => block.TimeChannels), first = 0;
        foreach (ResnetBlock2D block in _timed)
        {
            long length = entries * block.TimeChannels;
            projections.Add(block, row.Slice(1, first, length).View(entries, block.TimeChannels));
            first += length;
        }
        return new TimeContext(projections, entries);
    }

    /// <summary>Entries of the batch that have a time embedding of their own, because their prompt adds to it.</summary>
    private static long TimeEntries(UnetContext context) => context.AddedEmbedding.IsNone && context.TimestepCond.IsNone ? 1 : context.Batch;

    /// <summary>The numbered parts are those of the reference implementation; the first, the time embedding, is made already.</summary>
    private Tensor Denoise(Exec exec, Tensor sample, TimeContext time, AttentionContext context)
    {
        using TraceScope trace = Trace(exec);
        // 2. pre-process
        Tensor input = exec.Converted(sample, ActivationDType);
        Tensor hidden = conv_in.Forward(exec, input);
        input.Dispose();
        if (time.Entries > hidden[0])
        {
            // The parts of the batch differ from here on, not only from the first cross-attention.
            Tensor each = exec.Repeated(hidden, time.Entries);
            hidden.Dispose();
            hidden = each;
        }

        // 3. down: every result is kept for the way up
        var skips = new List<Tensor> { hidden };
        foreach (UnetDownBlock2D block in down_blocks)
        {
            hidden = block.Forward(exec, hidden, time, context, skips);
        }

        // 4. mid
        hidden = mid_block.Forward(exec, hidden, time, context);

        // 5. up: to the size of the next level's skip connections, which is odd where halving rounded up
        foreach (UnetUpBlock2D block in up_blocks)
        {
            int next = skips.Count - block.SkipCount - 1;
            (int, int) size = next < 0 ? default : ((int)skips[next][1], (int)skips[next][2]);
            hidden = block.Forward(exec, hidden, time, context, skips, size);
        }

        // 6. post-process
        Tensor normed = conv_norm_out.Forward(exec, hidden, activation: Activation.Silu);
        hidden.Dispose();
        Tensor output = conv_out.Forward(exec, normed);
        normed.Dispose();
        return output;
    }

    /// <summary>
    /// Timesteps <c>[N]</c> to the SiLU of their embedding <c>[N,T]</c>, or <c>[B,T]</c> where each entry of the batch has conditions <c>[B,D]</c> or an added
    /// embedding <c>[B,T]</c> of its own.
    /// </summary>
    private Tensor EmbedTime(Exec exec, Tensor timesteps, long batch, Tensor condition, Tensor added)
    {
        CheckTimestepCond(condition, batch);
        using Tensor each = exec.Repeated(timesteps, condition.IsNone && added.IsNone ? timesteps[0] : batch);
        Tensor waves = time_proj.Forward(exec, each); // [N,C0]
        using Tensor converted = exec.Converted(condition, ActivationDType);
        Tensor embedding = time_embedding.Forward(exec, waves, condition: converted, residual: added); // [N,T]
        waves.Dispose();
        exec.Activate(embedding, embedding, Activation.Silu);
        return embedding;
    }

    /// <summary>Embedding of pooled text and picture sizes <c>[B,T]</c>; none for a model without.</summary>
    private Tensor EmbedAdded(Exec exec, AddedConditions added)
    {
        if (add_embedding is null)
        {
            return default;
        }
        long batch = added.TimeIds[0], count = added.TimeIds[1];
        Tensor waves = add_time_proj!.Forward(exec, added.TimeIds.View(batch * count)); // [B*N,D]
        using Tensor text = exec.Converted(added.TextEmbeds, ActivationDType);
        Tensor embedding = add_embedding.Forward(exec, text, waves.View(batch, count * Config.AdditionTimeEmbedDim));
        waves.Dispose();
        return embedding;
    }

    private void CheckTimestepCond(Tensor condition, long batch)
    {
        if (!condition.IsNone && (Config.TimeCondProjDim is not { } channels || condition.Rank != 2 || condition[0] != batch || condition[1] != channels))
        {
            throw new ArgumentException(
                $"The timestep condition must be [{batch},{Config.TimeCondProjDim?.ToString() ?? "none: the model's time_cond_proj_dim is null"}], not {condition}.", nameof(condition));
        }
    }

    private void CheckSample(Tensor sample, long batch)
    {
        if (sample.Rank != 4 || sample[3] != Config.InChannels)
        {
            throw new ArgumentException($"The sample must be [S,H,W,{Config.InChannels}], not {sample}.", nameof(sample));
        }
        if (batch % sample[0] != 0)
        {
            throw new ArgumentException($"The sample is a batch of {sample[0]}, but the context is one of {batch}: give as many, or a number that divides it.", nameof(sample));
        }
    }

    private static void CheckTimesteps(long count, long samples, long batch)
    {
        if (count != 1 && count != samples && count != batch)
        {
            throw new ArgumentException($"{count} timesteps for a batch of {samples}: give one, or one per entry.", "timesteps");
        }
    }

    private void CheckContext(Tensor context)
    {
        if (context.Rank != 3 || Config.CrossAttentionDim.Any(channels => channels != context[2]))
        {
            throw new ArgumentException(
                $"The context must be [B,T,{string.Join("|", Config.CrossAttentionDim.Distinct())}], not {context}: use the text encoder that belongs to the UNet.", nameof(context));
        }
    }

    private void CheckAdded(AddedConditions added, long batch)
    {
        if (!Config.AddTextTime)
        {
            return;
        }
        (Tensor text, Tensor ids) = (added.TextEmbeds, added.TimeIds);
        int total = Config.ProjectionClassEmbeddingsInputDim;
        if (text.Rank != 2 || ids.Rank != 2 || text[0] != batch || ids[0] != batch || text[1] + (ids[1] * Config.AdditionTimeEmbedDim) != total)
        {
            throw new ArgumentException(
                $"The model needs pooled text [{batch},P] and time ids [{batch},N] with P + {Config.AdditionTimeEmbedDim} N = {total}, not {text} and {ids}.", nameof(added));
        }
    }
}
