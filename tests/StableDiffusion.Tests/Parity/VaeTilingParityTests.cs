using System.Text.Json;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Parity;

/// <summary>The VAE in tiles against diffusers' tiled_decode and tiled_encode, by the values that <c>vae_tiling</c> has of them.</summary>
[Category("Parity")]
public sealed class VaeTilingParityTests
{
    private static readonly JsonElement Doc = Fixtures.ReadJson("vae_tiling.json");
    private static readonly TensorFile File = Fixtures.ReadTensors("vae_tiling.safetensors");
    private Device _device = null!;
    private AutoencoderKL _vae = null!;

    [OneTimeSetUp]
    public void Load()
    {
        _device = Device.Open("cpu");
        _vae = AutoencoderKL.Load(Fixtures.PathOf("models", Doc.GetProperty("family").GetString()!, "vae"), _device);
    }

    [OneTimeTearDown]
    public void Unload()
    {
        _vae.Dispose();
        _device.Dispose();
    }

    [Test]
    public void Decode_InTiles_MatchesDiffusers()
    {
        TestTensor latent = File["latent"];
        byte[] pixels = Run(exec => TiledDecoder.Decode(exec, _vae, new FloatTensor(latent.ToSingle(), latent.Shape), _ => { }));
        int height = latent.Shape[2] * 8, width = latent.Shape[3] * 8, every = Doc.GetProperty("every").GetInt32();
        int row = Doc.GetProperty("row").GetInt32(), column = Doc.GetProperty("column").GetInt32();

        int columns = File["decoded_every"].Shape[3];
        CheckBytes("decoded_every", i => (i / columns * every, i % columns * every));
        CheckBytes("decoded_row", i => (row, i));
        CheckBytes("decoded_column", i => (i, column));

        void CheckBytes(string name, Func<int, (int Y, int X)> place)
        {
            // [1, 3, ...], about -1..1. The tiled decoder gives bytes, which may differ by one on a rounding edge.
            float[] expected = File[name].ToSingle();
            int size = expected.Length / 3;
            for (int i = 0; i < expected.Length; i++)
            {
                (int y, int x) = place(i % size);
                double value = Math.Round(255 * Math.Clamp((expected[i] / 2.0) + 0.5, 0, 1));
                Assert.That((double)pixels[(((y * width) + x) * 3) + (i / size)], Is.EqualTo(value).Within(1), $"{name}: row {y} of {height}, column {x}, colour {i / size}");
            }
        }
    }

    [Test]
    public void Encode_InTiles_MatchesDiffusers()
    {
        TestTensor picture = File["picture"], expected = File["encoded_mean"];
        int height = picture.Shape[1] * 8, width = picture.Shape[2] * 8;
        byte[] small = picture.As<byte>();
        var pixels = new FloatTensor(1, 3, height, width);
        for (int i = 0; i < pixels.Values.Length; i++)
        {
            (int c, int y, int x) = (i / width / height, i / width % height, i % width);
            pixels.Values[i] = (2 * (small[(((y / 8 * picture.Shape[2]) + (x / 8)) * 3) + c] / 255f)) - 1;
        }
        LatentDistribution distribution = Run(exec => TiledEncoder.Encode(exec, _vae, pixels, _ => { }));
        FloatTensor mean = FloatTensor.FromChannelsLast(distribution.Mode(), 1, 4, height / 8, width / 8);
        Tolerances.AssertPeakError(mean.Values, expected, Doc.GetProperty("tolerance").GetProperty("encoded").GetDouble(), "encoded_mean");
    }

    /// <summary>Runs twice: measuring, and then in an arena of the measured size.</summary>
    private T Run<T>(Func<Exec, T> work)
    {
        long peak;
        using (Exec measuring = Exec.Measure(_device))
        {
            work(measuring);
            peak = measuring.Stats.PeakBytes;
        }
        using Exec exec = Exec.Create(_device, peak);
        return work(exec);
    }
}
