using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Models;

/// <summary>The autoencoder beyond its parity with PyTorch: sizes, optional parts, the distribution of latents, bad shapes.</summary>
public sealed class AutoencoderKLTests
{
    private static readonly VaeConfig Config = new() { BlockOutChannels = [4, 8, 8], LayersPerBlock = 1, NormNumGroups = 2, LatentChannels = 3 };

    private Device _device = null!;

    [OneTimeSetUp]
    public void Open() => _device = Device.Open("cpu", threads: 2);

    [OneTimeTearDown]
    public void Close() => _device.Dispose();

    [TestCase(8, 12, 2, 3)]
    [TestCase(13, 11, 3, 2)] // an odd side is rounded down at each level, as PyTorch does with this padding
    [TestCase(4, 4, 1, 1)]
    public void EncodeMoments_AnySize_IsAQuarterRoundedDown(int height, int width, int latentHeight, int latentWidth)
    {
        using AutoencoderKL vae = Load(Config);
        Computed moments = ModelRun.Evaluate(_device, run => vae.EncodeMoments(run.Exec, run.Random(7, 2, height, width, 3)));
        Assert.That(moments.Shape, Is.EqualTo(new[] { 2, 6, latentHeight, latentWidth }));
        Assert.That(moments.Values, Has.All.Matches<float>(float.IsFinite).And.Some.Not.Zero);
    }

    [Test]
    public void Decode_AnySize_IsFourTimesThat()
    {
        using AutoencoderKL vae = Load(Config);
        Computed image = ModelRun.Evaluate(_device, run => vae.Decode(run.Exec, run.Random(7, 3, 1, 5, 3)));
        Assert.That(image.Shape, Is.EqualTo(new[] { 3, 3, 4, 20 }));
    }

    [TestCase(true, true, true)]
    [TestCase(false, false, false)]
    public void Load_OptionalParts_AreThereIfTheConfigSaysSo(bool quant, bool postQuant, bool attention)
    {
        using AutoencoderKL vae = Load(Config with { UseQuantConv = quant, UsePostQuantConv = postQuant, MidBlockAddAttention = attention });
        Assert.Multiple(() =>
        {
            Assert.That(vae.Children.Any(child => child.Path == "quant_conv"), Is.EqualTo(quant));
            Assert.That(vae.Children.Any(child => child.Path == "post_quant_conv"), Is.EqualTo(postQuant));
            Assert.That(vae.Find("decoder.mid_block").Children.Any(child => child.Path == "decoder.mid_block.attentions.0"), Is.EqualTo(attention));
        });
        Computed image = ModelRun.Evaluate(_device, run => vae.Decode(run.Exec, run.Random(1, 1, 2, 2, 3)));
        Computed moments = ModelRun.Evaluate(_device, run => vae.EncodeMoments(run.Exec, run.Random(1, 1, 8, 8, 3)));
        Assert.That((image.Values.Length, moments.Values.Length), Is.EqualTo((3 * 8 * 8, 6 * 2 * 2)));
    }

    [Test]
    public void Encode_Image_SplitsItsMoments()
    {
        using AutoencoderKL vae = Load(Config);
        LatentDistribution? latent = null;
        Computed moments = ModelRun.Evaluate(_device, run =>
        {
            Tensor image = run.Random(5, 2, 8, 8, 3);
            latent = vae.Encode(run.Exec, image);
            return vae.EncodeMoments(run.Exec, image);
        });
        float[] nhwc = ModelRun.ToNhwc(moments.Values, moments.Shape);
        Assert.That(latent!.Shape, Is.EqualTo(new[] { 2, 2, 2, 3 }));
        Assert.That(latent.Mode(), Is.EqualTo(nhwc.Chunk(6).SelectMany(pixel => pixel[..3])));
        Assert.That(latent.Std.ToArray(), Is.EqualTo(nhwc.Chunk(6).SelectMany(pixel => pixel[3..].Select(log => MathF.Exp(0.5f * log)))));
    }

    [Test]
    public void LatentDistribution_Sample_IsMeanPlusNoiseTimesStd()
    {
        // Two pixels of one channel; the second variance is far below and above what diffusers clamps it to.
        var latent = new LatentDistribution([1, 2 * MathF.Log(3), 2, -1000, 3, 1000], 1, 1, 3, 1);
        float[] sample = latent.Sample([2, 1, 0]);
        Assert.Multiple(() =>
        {
            Assert.That(latent.Mean.ToArray(), Is.EqualTo(new[] { 1f, 2, 3 }));
            Assert.That(latent.Std.ToArray(), Is.EqualTo(new[] { 3f, MathF.Exp(-15), MathF.Exp(10) }).Within(1e-6).Percent);
            Assert.That(sample, Is.EqualTo(new[] { 7f, 2 + MathF.Exp(-15), 3 }).Within(1e-5).Percent);
            Assert.That(() => latent.Sample([1]), Throws.ArgumentException);
            Assert.That(() => new LatentDistribution([1, 2, 3], 1, 1, 1, 1), Throws.ArgumentException);
        });
    }

    [Test]
    public void EncodeAndDecode_WrongShape_AreRefused()
    {
        using AutoencoderKL vae = Load(Config);
        using Exec exec = Exec.Measure(_device);
        Assert.Multiple(() =>
        {
            Assert.That(() => vae.Decode(exec, exec.Alloc(DType.Float32, 1, 4, 8, 8)), Throws.ArgumentException.With.Message.Contains("[B,H,W,3]").And.Message.Contains("[1,4,8,8]"));
            Assert.That(() => vae.EncodeMoments(exec, exec.Alloc(DType.Float32, 1, 8, 8, 4)), Throws.ArgumentException.With.Message.Contains("[B,H,W,3]"));
            Assert.That(() => vae.EncodeMoments(exec, exec.Alloc(DType.Float32, 1, 8, 3, 3)), Throws.ArgumentException.With.Message.Contains("at least 4"));
        });
    }

    private AutoencoderKL Load(VaeConfig config) => AutoencoderKL.Load(config, new RandomWeightSource(3), _device);
}
