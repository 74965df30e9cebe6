using System.Text.Json;
using StableDiffusion.Models;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Models;

/// <summary>TAESD against diffusers' AutoencoderTiny (<c>taesd/</c>, from export_taesd.py), under both of its layouts, and what is refused.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.WithStorage))]
public sealed class AutoencoderTinyTests(string deviceName, DType storage)
{
    private Device _device = null!;

    private static string Folder => OwnFixtures.PathOf("taesd", "model");

    private static string File => Path.Combine(Folder, "diffusion_pytorch_model.safetensors");

    [OneTimeSetUp]
    public void Open() => _device = Device.Open(deviceName, threads: 2);

    [OneTimeTearDown]
    public void Close() => _device?.Dispose();

    [TestCase("encoder")]
    [TestCase("decoder")]
    public void Forward_RecordedCase_MatchesDiffusers(string half)
    {
        using AutoencoderTiny vae = AutoencoderTiny.Load(Folder, _device, storage);
        AssertMatches(vae, half);
    }

    [TestCase("encoder", 0)]
    [TestCase("decoder", 1)] // the original decoder counts the clamp as layer 0
    public void Load_OriginalFileOfOneHalf_IsThatHalf(string half, int first)
    {
        using var folder = new TemporaryFolder();
        string path = folder[$"taesd_{half}.safetensors"];
        using (SafetensorsFile source = SafetensorsFile.Open(File))
        using (var original = new MappedWeights(source, Original(source.Names, half + ".layers.", first)))
        {
            SafetensorsWriter.Write(path, original);
        }
        using AutoencoderTiny vae = AutoencoderTiny.Load(path, _device, storage);
        Assert.That((vae.HasEncoder, vae.HasDecoder), Is.EqualTo((half == "encoder", half == "decoder")));
        AssertMatches(vae, half);
        using Exec exec = Exec.Measure(_device);
        Assert.That(() => half == "encoder"
            ? vae.Decode(exec, exec.Alloc(DType.Float32, 1, 2, 2, 4))
            : vae.Encode(exec, exec.Alloc(DType.Float32, 1, 8, 8, 3)), Throws.InvalidOperationException.With.Message.Contains("has no"));
    }

    [Test]
    public void Load_FileInDiffusersNames_HasBothHalves()
    {
        using AutoencoderTiny vae = AutoencoderTiny.Load(File, _device, storage);
        Assert.That((vae.HasEncoder, vae.HasDecoder, vae.Config.EncoderChannels, vae.Config.DecoderChannels), Is.EqualTo((true, true, 4, 6)));
        AssertMatches(vae, "decoder");
    }

    [Test]
    public void Load_SomethingElse_SaysWhatItIsNot()
    {
        string kl = OwnFixtures.PathOf("models", "sd1", "vae");
        Assert.Multiple(() =>
        {
            Assert.That(() => AutoencoderTiny.Load(kl, _device, storage), Throws.TypeOf<InvalidConfigException>().With.Message.Contains("AutoencoderTiny"));
            Assert.That(() => AutoencoderTiny.Load(Path.Combine(kl, "diffusion_pytorch_model.safetensors"), _device, storage),
                Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("no tiny autoencoder"));
            Assert.That(() => AutoencoderTiny.Load(Path.Combine(kl, "nothing.safetensors"), _device, storage), Throws.InstanceOf<InvalidWeightsException>());
            Assert.That(() => AutoencoderKL.Load(Folder, _device, storage), Throws.TypeOf<InvalidConfigException>().With.Message.Contains("AutoencoderTiny").And.Message.Contains("preview"));
        });
    }

    [Test]
    public void Decode_WrongShape_IsRefused()
    {
        using AutoencoderTiny vae = AutoencoderTiny.Load(Folder, _device, storage);
        using Exec exec = Exec.Measure(_device);
        Assert.That(() => vae.Decode(exec, exec.Alloc(DType.Float32, 1, 4, 8, 8)), Throws.ArgumentException.With.Message.Contains("[B,H,W,4]"));
        Assert.That(() => vae.Encode(exec, exec.Alloc(DType.Float32, 1, 8, 8, 4)), Throws.ArgumentException.With.Message.Contains("[B,H,W,3]"));
    }

    private static Dictionary<string, TensorMapping> Original(IReadOnlyList<string> names, string prefix, int first) => names
        .Where(name => name.StartsWith(prefix, StringComparison.Ordinal))
        .ToDictionary(name =>
        {
            string[] parts = name[prefix.Length..].Split('.', 2);
            return $"{int.Parse(parts[0]) + first}.{parts[1]}";
        }, name => new TensorMapping(name));

    private void AssertMatches(AutoencoderTiny vae, string half)
    {
        JsonElement entry = Read().First(test => test.GetProperty("name").GetString() == half);
        TensorFile tensors = TensorFile.Read(OwnFixtures.PathOf("taesd", "reference.safetensors"));
        TestTensor input = tensors[half + ".input"], expected = tensors[half + ".output"];
        Computed computed = ModelRun.Evaluate(_device, run => half == "encoder" ? vae.Encode(run.Exec, run.Input(input)) : vae.Decode(run.Exec, run.Input(input)));
        double limit = storage == DType.Float32 ? entry.GetProperty("tolerance").GetDouble() : Tolerances.HalfPrecision(storage, computed.Ops);
        Assert.That(computed.Shape, Is.EqualTo(expected.Shape));
        TestContext.Out.WriteLine($"{Tolerances.PeakError(computed.Values, expected.ToSingle()) / limit:F3} of the limit");
        Tolerances.AssertPeakError(computed.Values, expected, limit, half);
    }

    private static IEnumerable<JsonElement> Read()
    {
        using FileStream stream = System.IO.File.OpenRead(OwnFixtures.PathOf("taesd", "reference.json"));
        return JsonDocument.Parse(stream).RootElement.GetProperty("cases").EnumerateArray();
    }
}
