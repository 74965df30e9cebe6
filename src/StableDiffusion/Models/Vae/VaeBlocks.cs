using StableDiffusion.Native;
using StableDiffusion.Nn;

namespace StableDiffusion.Models.Vae;

/// <summary>What the blocks of encoder and decoder share.</summary>
internal static class VaeBlocks
{
    /// <summary>Epsilon of all norms, which no config names.</summary>
    public const float NormEps = 1e-6f;

    /// <summary>A residual block without time embedding.</summary>
    public static ResnetBlock2D Resnet(LayerBuilder builder, long inputs, long outputs, VaeConfig config) =>
        new(builder, inputs, outputs, embeddingChannels: null, config.NormNumGroups, NormEps);
}

/// <summary>A level of the encoder: residual blocks, then half the size.</summary>
public sealed class DownEncoderBlock2D : Layer
{
    private readonly ResnetBlock2D[] resnets;
    private readonly Downsample2D? downsamplers_0;

    /// <summary>Declares it.</summary>
    public DownEncoderBlock2D(LayerBuilder builder, long inputs, long outputs, bool downsample, VaeConfig config) : base(builder)
    {
        resnets = new ResnetBlock2D[config.LayersPerBlock];
        for (int i = 0; i < resnets.Length; i++)
        {
            resnets[i] = VaeBlocks.Resnet(builder["resnets"][i], i == 0 ? inputs : outputs, outputs, config);
        }
        downsamplers_0 = downsample ? new Downsample2D(builder["downsamplers.0"], outputs, padding: 0) : null;
    }

    /// <summary><c>[B,H,W,inputs]</c> to <c>[B,H/2,W/2,outputs]</c>. Takes x over: disposes it after its last use.</summary>
    public Tensor Forward(Exec exec, Tensor x)
    {
        using TraceScope trace = Trace(exec);
        foreach (ResnetBlock2D resnet in resnets)
        {
            Tensor next = resnet.Forward(exec, x);
            x.Dispose();
            x = next;
        }
        if (downsamplers_0 is not null)
        {
            Tensor next = downsamplers_0.Forward(exec, x);
            x.Dispose();
            x = next;
        }
        return x;
    }
}

/// <summary>The lowest level: a residual block, attention over all pixels, a residual block.</summary>
public sealed class UNetMidBlock2D : Layer
{
    private readonly ResnetBlock2D resnets_0;
    private readonly SpatialAttention? attentions_0;
    private readonly ResnetBlock2D resnets_1;

    /// <summary>Declares it.</summary>
    public UNetMidBlock2D(LayerBuilder builder, long channels, VaeConfig config) : base(builder)
    {
        resnets_0 = VaeBlocks.Resnet(builder["resnets.0"], channels, channels, config);
        attentions_0 = config.MidBlockAddAttention
            ? new SpatialAttention(builder["attentions.0"], channels, config.NormNumGroups, VaeBlocks.NormEps)
            : null;
        resnets_1 = VaeBlocks.Resnet(builder["resnets.1"], channels, channels, config);
    }

    /// <summary><c>[B,H,W,C]</c> to <c>[B,H,W,C]</c>. Takes x over: disposes it after its last use.</summary>
    public Tensor Forward(Exec exec, Tensor x)
    {
        using TraceScope trace = Trace(exec);
        Tensor hidden = resnets_0.Forward(exec, x);
        x.Dispose();
        if (attentions_0 is not null)
        {
            Tensor attended = attentions_0.Forward(exec, hidden);
            hidden.Dispose();
            hidden = attended;
        }
        Tensor output = resnets_1.Forward(exec, hidden);
        hidden.Dispose();
        return output;
    }
}

/// <summary>A level of the decoder: residual blocks, then twice the size.</summary>
public sealed class UpDecoderBlock2D : Layer
{
    private readonly ResnetBlock2D[] resnets;
    private readonly Upsample2D? upsamplers_0;

    /// <summary>Declares it.</summary>
    public UpDecoderBlock2D(LayerBuilder builder, long inputs, long outputs, bool upsample, VaeConfig config) : base(builder)
    {
        resnets = new ResnetBlock2D[config.LayersPerBlock + 1];
        for (int i = 0; i < resnets.Length; i++)
        {
            resnets[i] = VaeBlocks.Resnet(builder["resnets"][i], i == 0 ? inputs : outputs, outputs, config);
        }
        upsamplers_0 = upsample ? new Upsample2D(builder["upsamplers.0"], outputs) : null;
    }

    /// <summary><c>[B,H,W,inputs]</c> to <c>[B,2H,2W,outputs]</c>. Takes x over: disposes it after its last use.</summary>
    public Tensor Forward(Exec exec, Tensor x)
    {
        using TraceScope trace = Trace(exec);
        foreach (ResnetBlock2D resnet in resnets)
        {
            Tensor next = resnet.Forward(exec, x);
            x.Dispose();
            x = next;
        }
        if (upsamplers_0 is not null)
        {
            Tensor next = upsamplers_0.Forward(exec, x);
            x.Dispose();
            x = next;
        }
        return x;
    }
}
