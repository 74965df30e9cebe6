using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Pipelines;

/// <summary>The decoder in tiles against diffusers' way of joining them, and when it is used; and latents that survive a lack of memory.</summary>
public sealed class TiledDecodingTests
{
    private const int Tile = 64, Stride = 48, Scale = 8, Blend = 128;
    private Device _device = null!;
    private StableDiffusionPipeline _pipeline = null!;

    [OneTimeSetUp]
    public void Load()
    {
        _device = Device.Open("cpu");
        _pipeline = StableDiffusionPipeline.Load(Fixtures.PathOf("models", "sd1"), _device);
    }

    [OneTimeTearDown]
    public void Unload()
    {
        _pipeline.Dispose();
        _device.Dispose();
    }

    private static GenerationRequest Large => new("a cat") { Steps = 1, Seed = 7, Width = 528, Height = 800, GuidanceScale = 1 };

    [Test]
    public void Decode_LargerThanATile_IsJoinedAsDiffusersDoes()
    {
        AutoencoderKL vae = _pipeline.Components.Vae;
        FloatTensor latent = Noise(100, 66);
        byte[] actual = Decode(vae, latent), expected = Reference(vae, latent);
        Assert.That(actual, Has.Length.EqualTo(expected.Length));
        Assert.That(actual.Zip(expected).Max(pair => Math.Abs(pair.First - pair.Second)), Is.LessThanOrEqualTo(1), "a value on a rounding edge");
        Assert.That(TiledDecoder.CountTiles(vae, 100, 66), Is.EqualTo(6));
    }

    [Test]
    public void Generate_VaeTiling_WarnsAndDiffersOnlyALittle()
    {
        using GenerationResult whole = _pipeline.Generate(Large), tiled = _pipeline.Generate(Large with { VaeTiling = true });
        Assert.That(whole.Warnings, Is.Empty);
        Assert.That(tiled.Warnings, Has.Count.EqualTo(1).And.Some.Contains("tiles"));
        Assert.That(tiled.Latents.Values, Is.EqualTo(whole.Latents.Values));
        Assert.That(tiled.Images[0].Pixels.Length, Is.EqualTo(whole.Images[0].Pixels.Length));
        // The norms see a tile instead of the picture: values move, but not by a large part of their range.
        byte[] a = whole.Images[0].Pixels.ToArray(), b = tiled.Images[0].Pixels.ToArray();
        Assert.That(a.Zip(b).Average(pair => Math.Abs(pair.First - pair.Second)), Is.InRange(0.01, 32));
    }

    [Test]
    public void Generate_VaeTilingOfASmallPicture_IsNotNeeded()
    {
        using GenerationResult result = _pipeline.Generate(Large with { Width = 64, Height = 64, VaeTiling = true });
        Assert.That(result.Warnings, Is.Empty);
    }

    [Test]
    public void Generate_DecoderDoesNotFit_DecodesInTilesAndSaysSo()
    {
        GenerationShape shape = new(1, 1, false, 1, 800, 528, 100, 66, 4, 77);
        PipelineComponents parts = _pipeline.Components;
        MemoryPlan plan = MemoryPlan.Measure(parts, shape, 1, encodes: true, decodes: true);
        long whole = plan.TotalBytes, tiled = (plan with { Tiled = true }).TotalBytes;
        Assert.That(tiled, Is.LessThan(whole));
        using var limited = new StableDiffusionPipeline(parts with { MemoryLimitBytes = parts.WeightBytes + ((whole + tiled) / 2) });
        using GenerationResult result = limited.Generate(Large), asked = _pipeline.Generate(Large with { VaeTiling = true });
        Assert.That(result.Warnings, Has.Count.EqualTo(1).And.Some.Contains("did not fit"));
        Assert.That(result.Images[0].Pixels.SequenceEqual(asked.Images[0].Pixels));
    }

    [Test]
    public void Decode_MemoryIsGone_ExceptionHasTheLatentsAndBytes()
    {
        GenerationShape shape = new(1, 1, false, 1, 64, 64, 8, 8, 4, 77);
        MemoryPlan plan = MemoryPlan.Measure(_pipeline.Components, shape, 1, encodes: true, decodes: true);
        // An arena that is too small is what a device without memory gives in the end.
        plan = plan with { Decode = plan.Decode with { Bytes = 4096 }, Tile = plan.Decode with { Bytes = 4096 } };
        var decoder = new LatentDecoder(new GenerationScope(_pipeline.Components, new ProgressMeter(null, [plan], queued: false), default), plan, tilesAskedFor: false);
        FloatTensor latents = Noise(8, 8);
        GenerationOutOfMemoryException failure = Assert.Throws<GenerationOutOfMemoryException>(() => decoder.Decode(latents))!;
        Assert.That(failure.Latents, Is.SameAs(latents));
        Assert.That((failure.NeededBytes, failure.FreeBytes > 0, failure.InnerException), Is.EqualTo((4096L, true, failure.InnerException as OutOfDeviceMemoryException)));
        Assert.That(_pipeline.Components.Vae.Decode(_device, failure.Latents).Shape, Is.EqualTo(new[] { 1, 3, 64, 64 }), "what the exception is for");
    }

    private byte[] Decode(AutoencoderKL vae, FloatTensor latent)
    {
        long peak;
        using (Exec measuring = Exec.Measure(_device))
        {
            TiledDecoder.Decode(measuring, vae, latent, _ => { });
            peak = measuring.Stats.PeakBytes;
        }
        using Exec exec = Exec.Create(_device, peak);
        return TiledDecoder.Decode(exec, vae, latent, _ => { });
    }

    /// <summary>diffusers' AutoencoderKL.tiled_decode, on host tensors [3,H,W] of tiles decoded one by one.</summary>
    private byte[] Reference(AutoencoderKL vae, FloatTensor latent)
    {
        (int height, int width) = (latent[2], latent[3]);
        var rows = new List<List<FloatTensor>>();
        for (int i = 0; i < height; i += Stride)
        {
            rows.Add([]);
            for (int j = 0; j < width; j += Stride)
            {
                rows[^1].Add(vae.Decode(_device, Crop(latent, i, j, Math.Min(Tile, height - i), Math.Min(Tile, width - j))));
            }
        }
        var image = new byte[height * Scale * width * Scale * 3];
        for (int i = 0; i < rows.Count; i++)
        {
            for (int j = 0; j < rows[i].Count; j++)
            {
                FloatTensor tile = rows[i][j];
                if (i > 0)
                {
                    FloatTensor above = rows[i - 1][j];
                    int extent = Math.Min(Blend, Math.Min(above[2], tile[2]));
                    Each(extent, tile[3], (c, y, x) => Set(tile, c, y, x, (At(above, c, above[2] - extent + y, x) * (1 - (y / (float)extent))) + (At(tile, c, y, x) * (y / (float)extent))));
                }
                if (j > 0)
                {
                    FloatTensor left = rows[i][j - 1];
                    int extent = Math.Min(Blend, Math.Min(left[3], tile[3]));
                    Each(tile[2], extent, (c, y, x) => Set(tile, c, y, x, (At(left, c, y, left[3] - extent + x) * (1 - (x / (float)extent))) + (At(tile, c, y, x) * (x / (float)extent))));
                }
                int keep = Stride * Scale;
                Each(Math.Min(keep, tile[2]), Math.Min(keep, tile[3]), (c, y, x) =>
                    image[(((((i * keep) + y) * width * Scale) + (j * keep) + x) * 3) + c] = (byte)MathF.Round(255 * Math.Clamp((At(tile, c, y, x) / 2) + 0.5f, 0, 1)));
            }
        }
        return image;
    }

    private static void Each(int height, int width, Action<int, int, int> action)
    {
        for (int c = 0; c < 3; c++)
        {
            for (int y = 0; y < height; y++)
            {
                for (int x = 0; x < width; x++)
                {
                    action(c, y, x);
                }
            }
        }
    }

    private static float At(FloatTensor image, int c, int y, int x) => image.Values[(((c * image[2]) + y) * image[3]) + x];

    private static void Set(FloatTensor image, int c, int y, int x, float value) => image.Values[(((c * image[2]) + y) * image[3]) + x] = value;

    private static FloatTensor Crop(FloatTensor image, int top, int left, int height, int width)
    {
        var crop = new FloatTensor(1, image[1], height, width);
        for (int i = 0; i < crop.Values.Length; i++)
        {
            (int row, int x) = Math.DivRem(i, width);
            (int c, int y) = Math.DivRem(row, height);
            crop.Values[i] = At(image, c, top + y, left + x);
        }
        return crop;
    }

    private static FloatTensor Noise(int height, int width)
    {
        var noise = new FloatTensor(1, 4, height, width);
        new StableDiffusion.Random.TorchCpuGenerator(3).Normal(noise.Values);
        return noise;
    }
}
