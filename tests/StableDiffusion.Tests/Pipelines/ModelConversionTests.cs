using StableDiffusion.Models.SingleFile;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Pipelines;

/// <summary>Folder to single file and back: the same model, whatever its shape.</summary>
public sealed class ModelConversionTests
{
    private TemporaryFolder _folder = null!;
    private Device _device = null!;

    [SetUp]
    public void Make() => (_folder, _device) = (new TemporaryFolder(), Device.Open("cpu"));

    [TearDown]
    public void Delete()
    {
        _device.Dispose();
        _folder.Dispose();
    }

    [TestCase("sd1", ModelFamily.StableDiffusion1)]
    [TestCase("sd2", ModelFamily.StableDiffusion2)]
    [TestCase("sdxl", ModelFamily.StableDiffusionXL)]
    [TestCase("shapes", ModelFamily.StableDiffusion1)]
    public void ToSingleFile_AndBack_DrawsTheSamePicture(string name, ModelFamily family)
    {
        string original = name == "shapes" ? ModelFolder.BuiltIn : Fixtures.PathOf("models", name), file = _folder["one.safetensors"], again = _folder["again"];
        using (ModelSource model = ModelSource.Open(original))
        {
            ModelConversion.ToSingleFile(model, file);
        }
        using (SingleFileModel model = SingleFileModel.Open(file))
        {
            Assert.That(model.Kind.Family, Is.EqualTo(family));
            ModelConversion.ToFolder(model, again);
        }

        float[] expected = Draw(original);
        Assert.Multiple(() =>
        {
            Assert.That(Draw(file), Is.EqualTo(expected), "single file");
            Assert.That(Draw(again), Is.EqualTo(expected), "folder again");
            Assert.That(Directory.EnumerateFileSystemEntries(_folder.Path).Select(Path.GetFileName), Is.EquivalentTo((string[])["one.safetensors", "again"]));
        });
    }

    [Test]
    public void ToFolder_Float16_HasThatTypeAndRoundsToNearest()
    {
        using ModelSource model = ModelSource.Open(Fixtures.PathOf("models", "sd1"));
        ModelConversion.ToFolder(model, _folder["half"], new ConversionOptions { DType = WeightDType.Float16 });

        using IWeightSource before = model.OpenWeights("unet"), after = WeightFolder.Open(Path.Combine(_folder["half"], "unet"));
        foreach (string name in before.Names!)
        {
            WeightInfo info = after.Find(name, [])!;
            using HostTensor single = new(name, before.Find(name, [])!), half = new(name, info);
            before.Read(name, single.Info, single.Bytes);
            after.Read(name, info, half.Bytes);

            Assert.That(info.DType, Is.EqualTo(WeightDType.Float16), name);
            Assert.That(half.ToArray(), Is.EqualTo(single.ToArray().Select(value => (float)(Half)value)), name);
        }
    }

    // By hand: 1 + 2^-8 lies between 1 and 1 + 2^-7, and 1 is the even one; 1 + 3 * 2^-8 goes up to 1 + 2^-6.
    [TestCase(1.00390625f, 1f)]
    [TestCase(1.01171875f, 1.015625f)]
    [TestCase(-3.5f, -3.5f)]
    [TestCase(float.NaN, float.NaN)]
    [TestCase(float.PositiveInfinity, float.PositiveInfinity)]
    public void CastWeights_BFloat16_RoundsToNearestEven(float value, float expected)
    {
        using TensorSource source = new("x", value);
        using CastWeights cast = new(source, WeightDType.BFloat16);
        WeightInfo info = cast.Find("x", [])!;
        using HostTensor tensor = new("x", info);
        cast.Read("x", info, tensor.Bytes);

        Assert.That(tensor.ToArray(), Is.EqualTo((float[])[expected]));
    }

    [Test]
    public void CastWeights_Float16BeyondItsRange_NamesTheTensor()
    {
        using TensorSource source = new("mid.weight", 70000f);
        using CastWeights cast = new(source, WeightDType.Float16);
        WeightInfo info = cast.Find("mid.weight", [])!;
        byte[] bytes = new byte[2];

        Assert.That(() => cast.Read("mid.weight", info, bytes), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("'mid.weight'").And.Message.Contains("70000").And.Message.Contains("bf16"));
    }

    [Test]
    public void ToFolder_Cancelled_LeavesNothing()
    {
        using ModelSource model = ModelSource.Open(Fixtures.PathOf("models", "sd1"));
        using var cancelled = new CancellationTokenSource();
        var progress = new Reaction(cancelled.Cancel);

        Assert.That(() => ModelConversion.ToFolder(model, _folder["half"], progress: progress, cancellation: cancelled.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(Directory.EnumerateFileSystemEntries(_folder.Path), Is.Empty);
    }

    [Test]
    public void ToFolder_FolderThere_IsNotReplacedUnlessAsked()
    {
        using ModelSource model = ModelSource.Open(Fixtures.PathOf("models", "sd1"));
        Directory.CreateDirectory(_folder["mine"]);
        File.WriteAllText(Path.Combine(_folder["mine"], "diary.txt"), "");
        Assert.Multiple(() =>
        {
            Assert.That(() => ModelConversion.ToFolder(model, _folder["mine"]), Throws.TypeOf<IOException>().With.Message.Contains("--force"));
            Assert.That(() => ModelConversion.ToFolder(model, _folder["mine"], new ConversionOptions { Overwrite = true }), Throws.TypeOf<IOException>().With.Message.Contains("other things than a model"));
        });
    }

    [Test]
    public void Load_OldVaeNames_ConvertLikeNewOnes()
    {
        // The fixture folder has a VAE with the attention names of diffusers before 0.17.
        string legacy = Fixtures.PathOf("models", "sd1_legacy_vae", "vae"), copy = _folder["model"];
        CopyFolder(Fixtures.PathOf("models", "sd1"), copy);
        Directory.Delete(Path.Combine(copy, "vae"), recursive: true);
        CopyFolder(legacy, Path.Combine(copy, "vae"));
        using (ModelSource model = ModelSource.Open(copy))
        {
            ModelConversion.ToSingleFile(model, _folder["one.safetensors"]);
        }

        Assert.That(Draw(_folder["one.safetensors"]), Is.EqualTo(Draw(copy)));
    }

    [Test]
    public void Load_VaeFolder_ReplacesTheModelsOwn()
    {
        PipelineComponents parts = PipelineComponents.Load(Fixtures.PathOf("models", "sd1"), _device, new LoadOptions { Vae = Fixtures.PathOf("models", "sd2", "vae") });
        try
        {
            Assert.That(parts.Vae.Config.BlockOutChannels, Is.EqualTo(StableDiffusion.Models.Vae.VaeConfig.Read(Fixtures.PathOf("models", "sd2", "vae")).BlockOutChannels));
        }
        finally
        {
            parts.DisposeParts();
        }
    }

    [Test]
    public void Load_VaeThatIsNone_NamesIt() =>
        Assert.That(() => Draw(Fixtures.PathOf("models", "sd1"), new LoadOptions { Vae = Path.Combine(Fixtures.PathOf("models", "sd1"), "unet", "diffusion_pytorch_model.safetensors") }),
            Throws.TypeOf<NotSupportedException>().With.Message.Contains("no VAE"));

    [Test]
    public void Load_PredictionType_Overrides()
    {
        PipelineComponents parts = PipelineComponents.Load(Fixtures.PathOf("models", "sd1"), _device, new LoadOptions { PredictionType = PredictionType.VPrediction });
        try
        {
            Assert.That(((Scheduler)parts.Scheduler).PredictionType, Is.EqualTo(PredictionType.VPrediction));
        }
        finally
        {
            parts.DisposeParts();
        }
    }

    /// <summary>Final latents and pixels of a small picture.</summary>
    private float[] Draw(string model, LoadOptions? options = null)
    {
        using var pipeline = StableDiffusionPipeline.Load(model, _device, options);
        using GenerationResult result = pipeline.Generate(new GenerationRequest("a red circle") { Steps = 2, Seed = 7, Width = 64, Height = 64 });
        return [.. result.Latents.Values, .. result.Images[0].Pixels.ToArray().Select(value => (float)value)];
    }

    private static void CopyFolder(string from, string to)
    {
        foreach (string file in Directory.EnumerateFiles(from, "*", SearchOption.AllDirectories))
        {
            string target = Path.Combine(to, Path.GetRelativePath(from, file));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target);
        }
    }

    private sealed class Reaction(Action react) : IProgress<double>
    {
        public void Report(double value) => react();
    }

    /// <summary>One number.</summary>
    private sealed class TensorSource(string name, float value) : IWeightSource
    {
        public string Location => "one.safetensors";

        public IReadOnlyList<string> Names => [name];

        public WeightInfo? Find(string wanted, ReadOnlySpan<long> expectedShape) => wanted == name ? new WeightInfo(WeightDType.Float32, [1]) : null;

        public void Read(string wanted, WeightInfo info, Span<byte> destination) => BitConverter.TryWriteBytes(destination, value);

        public string Describe(string wanted) => Location;

        public void Dispose()
        {
        }
    }
}
