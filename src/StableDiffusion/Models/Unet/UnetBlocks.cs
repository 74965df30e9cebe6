using StableDiffusion.Native;
using StableDiffusion.Nn;

namespace StableDiffusion.Models.Unet;

/// <summary>What the blocks of a UNet share: every residual block and transformer of one level is made alike.</summary>
internal static class UnetBlocks
{
    public static ResnetBlock2D Resnet(LayerBuilder builder, long inputs, long outputs, UnetConfig config) =>
        new(builder, inputs, outputs, config.TimeEmbedDim, config.NormNumGroups, config.NormEps);

    public static Transformer2DModel Transformer(LayerBuilder builder, int level, int depth, UnetConfig config) =>
        new(builder, config.BlockOutChannels[level], config.NumAttentionHeads[level], depth, config.CrossAttentionDim[level],
            config.NormNumGroups, config.UseLinearProjection);
}

/// <summary>
/// A level on the way down: residual blocks, each followed by a transformer where the level has attention, then half the size.
/// diffusers' <c>DownBlock2D</c> and <c>CrossAttnDownBlock2D</c>.
/// </summary>
public sealed class UnetDownBlock2D : Layer
{
    private readonly ResnetBlock2D[] resnets;
    private readonly Transformer2DModel[] attentions;
    private readonly Downsample2D? downsamplers_0;

    /// <summary>Declares the level of that number, 0 at full resolution.</summary>
    public UnetDownBlock2D(LayerBuilder builder, UnetConfig config, int level) : base(builder)
    {
        long inputs = config.BlockOutChannels[Math.Max(0, level - 1)], outputs = config.BlockOutChannels[level];
        bool hasAttention = config.DownBlockTypes[level] == UnetConfig.CrossAttnDownBlock;
        resnets = new ResnetBlock2D[config.LayersPerBlock[level]];
        attentions = new Transformer2DModel[hasAttention ? resnets.Length : 0];
        for (int i = 0; i < resnets.Length; i++)
        {
            resnets[i] = UnetBlocks.Resnet(builder["resnets"][i], i == 0 ? inputs : outputs, outputs, config);
            if (hasAttention)
            {
                attentions[i] = UnetBlocks.Transformer(builder["attentions"][i], level, config.TransformerLayersPerBlock[level][i], config);
            }
        }
        downsamplers_0 = level < config.Levels - 1 ? new Downsample2D(builder["downsamplers.0"], outputs, config.DownsamplePadding) : null;
    }

    /// <summary><c>[B,H,W,inputs]</c> to <c>[B,H/2,W/2,outputs]</c>, sides rounded up; behind attention the batch is the context's, see <see cref="CrossAttention"/>.</summary>
    /// <param name="exec">Where it runs.</param>
    /// <param name="x">The running features.</param>
    /// <param name="time">The timestep.</param>
    /// <param name="context">What the transformers look at.</param>
    /// <param name="skips">Receives every intermediate result, the returned one last. They are now the list's.</param>
    public Tensor Forward(Exec exec, Tensor x, TimeContext time, AttentionContext context, List<Tensor> skips)
    {
        using TraceScope trace = Trace(exec);
        for (int i = 0; i < resnets.Length; i++)
        {
            Tensor hidden = resnets[i].Forward(exec, x, time);
            if (attentions.Length > 0)
            {
                Tensor attended = attentions[i].Forward(exec, hidden, context);
                hidden.Dispose();
                hidden = attended;
            }
            skips.Add(hidden);
            x = hidden;
        }
        if (downsamplers_0 is not null)
        {
            x = downsamplers_0.Forward(exec, x);
            skips.Add(x);
        }
        return x;
    }
}

/// <summary>The lowest level: a residual block, a transformer, a residual block.</summary>
public sealed class UNetMidBlock2DCrossAttn : Layer
{
    private readonly ResnetBlock2D resnets_0;
    private readonly Transformer2DModel attentions_0;
    private readonly ResnetBlock2D resnets_1;

    /// <summary>Declares it.</summary>
    public UNetMidBlock2DCrossAttn(LayerBuilder builder, UnetConfig config) : base(builder)
    {
        int level = config.Levels - 1;
        long channels = config.BlockOutChannels[level];
        resnets_0 = UnetBlocks.Resnet(builder["resnets.0"], channels, channels, config);
        attentions_0 = UnetBlocks.Transformer(builder["attentions.0"], level, config.TransformerLayersPerBlock[level][0], config);
        resnets_1 = UnetBlocks.Resnet(builder["resnets.1"], channels, channels, config);
    }

    /// <summary><c>[B,H,W,C]</c> to <c>[B,H,W,C]</c>; behind its attention the batch is the context's.</summary>
    public Tensor Forward(Exec exec, Tensor x, TimeContext time, AttentionContext context)
    {
        using TraceScope trace = Trace(exec);
        Tensor hidden = resnets_0.Forward(exec, x, time);
        Tensor attended = attentions_0.Forward(exec, hidden, context);
        hidden.Dispose();
        Tensor output = resnets_1.Forward(exec, attended, time);
        attended.Dispose();
        return output;
    }
}

/// <summary>
/// A level on the way up: residual blocks that each take a skip connection, followed by a transformer where the level has attention, then
/// the size of the next level. diffusers' <c>UpBlock2D</c> and <c>CrossAttnUpBlock2D</c>.
/// </summary>
public sealed class UnetUpBlock2D : Layer
{
    private readonly ResnetBlock2D[] resnets;
    private readonly Transformer2DModel[] attentions;
    private readonly Upsample2D? upsamplers_0;

    /// <summary>Declares the block of that number, 0 at the lowest resolution.</summary>
    public UnetUpBlock2D(LayerBuilder builder, UnetConfig config, int index) : base(builder)
    {
        int level = config.Levels - 1 - index;
        long outputs = config.BlockOutChannels[level];
        long below = config.BlockOutChannels[Math.Min(level + 1, config.Levels - 1)], above = config.BlockOutChannels[Math.Max(level - 1, 0)];
        bool hasAttention = config.UpBlockTypes[index] == UnetConfig.CrossAttnUpBlock;
        resnets = new ResnetBlock2D[config.LayersPerBlock[level] + 1];
        attentions = new Transformer2DModel[hasAttention ? resnets.Length : 0];
        for (int i = 0; i < resnets.Length; i++)
        {
            // The last skip connection of a level came out of the level above it.
            long running = i == 0 ? below : outputs, skip = i == resnets.Length - 1 ? above : outputs;
            resnets[i] = UnetBlocks.Resnet(builder["resnets"][i], running + skip, outputs, config);
            if (hasAttention)
            {
                attentions[i] = UnetBlocks.Transformer(builder["attentions"][i], level, config.UpTransformerLayersPerBlock[index][i], config);
            }
        }
        upsamplers_0 = level > 0 ? new Upsample2D(builder["upsamplers.0"], outputs) : null;
    }

    /// <summary>Skip connections that it takes.</summary>
    public int SkipCount => resnets.Length;

    /// <summary><c>[B,H,W,C]</c> to <c>[B,Ho,Wo,outputs]</c>. Takes x and its skip connections over: disposes them after their last use.</summary>
    /// <param name="exec">Where it runs.</param>
    /// <param name="x">The running features.</param>
    /// <param name="time">The timestep.</param>
    /// <param name="context">What the transformers look at.</param>
    /// <param name="skips">The last <see cref="SkipCount"/> are taken off its end; those of fewer entries, made before the parts of the batch differed, are repeated.</param>
    /// <param name="size">Height and width of the result; by default twice those of x.</param>
    public Tensor Forward(Exec exec, Tensor x, TimeContext time, AttentionContext context, List<Tensor> skips, (int Height, int Width) size = default)
    {
        using TraceScope trace = Trace(exec);
        for (int i = 0; i < resnets.Length; i++)
        {
            Tensor made = skips[^1];
            skips.RemoveAt(skips.Count - 1);
            Tensor skip = exec.Repeated(made, x[0]);
            Tensor hidden = resnets[i].Forward(exec, x, time, skip);
            x.Dispose();
            skip.Dispose();
            made.Dispose();
            x = hidden;
            if (attentions.Length > 0)
            {
                Tensor attended = attentions[i].Forward(exec, x, context);
                x.Dispose();
                x = attended;
            }
        }
        if (upsamplers_0 is not null)
        {
            Tensor larger = upsamplers_0.Forward(exec, x, size);
            x.Dispose();
            x = larger;
        }
        return x;
    }
}
