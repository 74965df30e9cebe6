using StableDiffusion.Models.SingleFile;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Pipelines;

/// <summary>
/// Files without any configuration, as they are shared: the published layouts with random numbers, at a tenth of the UNet's channels, so that they
/// are small. Everything is worked out from the shapes.
/// </summary>
public sealed class PlainCheckpointTests
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

    [TestCase("sd15", typeof(PNDMScheduler), 0)]
    [TestCase("sd21", typeof(DDIMScheduler), 0)]
    public void Load_FileWithoutConfiguration_Draws(string architecture, Type ifKnown, int padId)
    {
        string file = Write(architecture);
        using var pipeline = StableDiffusionPipeline.Load(file, _device);
        using GenerationResult result = pipeline.Generate(new GenerationRequest("a cat") { Steps = 1, Seed = 1, Width = 64, Height = 64, GuidanceScale = 1 });

        Assert.Multiple(() =>
        {
            Assert.That(result.Latents.Values, Has.All.Matches<float>(float.IsFinite));
            Assert.That(pipeline.Components.Tokenizers[0].PadId, Is.EqualTo(architecture == "sd21" ? padId : 49407));
            bool v = ((Scheduler)pipeline.Components.Scheduler).PredictionType == PredictionType.VPrediction;
            Assert.That(pipeline.Components.Scheduler, Is.TypeOf(architecture == "sd15" || v ? ifKnown : typeof(PNDMScheduler)));
            Assert.That(pipeline.Components.Unet.Config.SampleSize, Is.EqualTo(v ? (96, 96) : (64, 64)));
        });
    }

    [TestCase("v_pred", null, null, "sd15", PredictionType.VPrediction)]
    [TestCase(null, "v", null, "sd21", PredictionType.VPrediction)]
    [TestCase(null, "epsilon", null, "sd21", PredictionType.Epsilon)]
    [TestCase(null, null, "model:\n  params:\n    parameterization: \"v\"\n", "sd21", PredictionType.VPrediction)]
    [TestCase(null, null, "model:\n  params:\n    parameterization: eps\n", "sd21", PredictionType.Epsilon)]
    [TestCase(null, null, null, "sd21", null)]
    [TestCase(null, null, null, "sd15", PredictionType.Epsilon)]
    public void Prediction_OfMarksMetadataAndYaml_IsKnown(string? mark, string? metadata, string? yaml, string architecture, PredictionType? expected)
    {
        Dictionary<string, long[]> shapes = Shapes(architecture);
        if (mark is not null)
        {
            shapes[mark] = [1];
        }
        using SingleFileModel model = SingleFileModel.From(new NamesOnlySource(shapes), metadata is null ? null : new Dictionary<string, string> { ["modelspec.prediction_type"] = metadata }, yaml);

        Assert.That(model.Prediction, Is.EqualTo(expected));
    }

    [Test]
    public void LoadScheduler_ZeroTerminalSnrMark_BeginsAtTheLastTimestep()
    {
        Dictionary<string, long[]> shapes = Shapes("sdxl_base");
        (shapes["v_pred"], shapes["ztsnr"]) = ([0], [0]);
        using SingleFileModel model = SingleFileModel.From(new NamesOnlySource(shapes));

        Assert.That(model.LoadScheduler(), Is.TypeOf<EulerDiscreteScheduler>().With.Property("PredictionType").EqualTo(PredictionType.VPrediction)
            .And.Property("RescaleBetasZeroSnr").True.And.Property("TimestepSpacing").EqualTo(TimestepSpacing.Trailing));
    }

    [Test]
    public void OpenWeights_Ema_TakesTheAveragedWeights()
    {
        Dictionary<string, long[]> shapes = Shapes("sd15");
        foreach ((string name, long[] shape) in shapes.Where(pair => pair.Key.StartsWith("model.", StringComparison.Ordinal)).ToArray())
        {
            shapes["model_ema." + name["model.".Length..].Replace(".", "", StringComparison.Ordinal)] = shape;
        }
        using SingleFileModel model = SingleFileModel.From(new NamesOnlySource(shapes));
        using IWeightSource plain = model.OpenWeights("unet"), averaged = model.OpenWeights("unet", "ema");

        Assert.Multiple(() =>
        {
            Assert.That(averaged.Names, Is.EqualTo(plain.Names));
            Assert.That(averaged.Describe("conv_in.weight"), Does.EndWith("model_ema.diffusion_modelinput_blocks00weight"));
            Assert.That(() => model.OpenWeights("unet", "fp16"), Throws.ArgumentException.With.Message.Contains("'fp16'"));
        });
    }

    [TestCase("first_stage_model.", "sd15")]
    [TestCase("", "sd15")]
    public void Load_VaeFile_ReplacesTheModelsOwnAndKeepsItsScale(string prefix, string architecture)
    {
        Dictionary<string, WeightInfo> vae = Shapes(architecture).Where(pair => pair.Key.StartsWith("first_stage_model.", StringComparison.Ordinal))
            .ToDictionary(pair => prefix + pair.Key["first_stage_model.".Length..], pair => new WeightInfo(WeightDType.Float32, [.. pair.Value]));
        SafetensorsWriter.Write(_folder["vae.safetensors"], vae, new RandomWeightSource(5).Read);
        PipelineComponents parts = PipelineComponents.Load(ModelFolder.BuiltIn, _device, new LoadOptions { Vae = _folder["vae.safetensors"] });
        try
        {
            Assert.That(parts.Vae.Config.BlockOutChannels, Is.EqualTo((int[])[32, 64, 128, 128]));
            Assert.That(parts.Vae.Config.ScalingFactor, Is.EqualTo(0.53892)); // models/shapes/vae/config.json
        }
        finally
        {
            parts.DisposeParts();
        }
    }

    [Test]
    public void Load_VaeOfOtherLatents_IsRefused()
    {
        Dictionary<string, WeightInfo> vae = Shapes("sd15").Where(pair => pair.Key.StartsWith("first_stage_model.", StringComparison.Ordinal))
            .ToDictionary(pair => pair.Key, pair => new WeightInfo(WeightDType.Float32, pair.Key.Contains("decoder.conv_in.weight", StringComparison.Ordinal) ? [128, 16, 3, 3] : [.. pair.Value]));
        SafetensorsWriter.Write(_folder["vae.safetensors"], vae, new RandomWeightSource(5).Read);

        Assert.That(() => PipelineComponents.Load(ModelFolder.BuiltIn, _device, new LoadOptions { Vae = _folder["vae.safetensors"] }),
            Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("16 channels").And.Message.Contains("draws 4"));
    }

    /// <summary>A checkpoint of random numbers.</summary>
    private string Write(string architecture)
    {
        string file = _folder["plain.safetensors"];
        SafetensorsWriter.Write(file, Shapes(architecture).ToDictionary(pair => pair.Key, pair => new WeightInfo(WeightDType.Float16, [.. pair.Value])),
            new RandomWeightSource(1, WeightDType.Float16).Read);
        return file;
    }

    /// <summary>The published shapes, made small: the UNet to a tenth, the VAE to a quarter, the text encoder to 64 channels.</summary>
    private static Dictionary<string, long[]> Shapes(string architecture) => Fixtures.ReadJson("single_file", $"{architecture}.json.gz").GetProperty("original").EnumerateObject()
        .ToDictionary(entry => entry.Name, entry => entry.Value.EnumerateArray().Select((side, axis) => Small(entry.Name, axis, side.GetInt64())).ToArray());

    private static long Small(string name, int axis, long side)
    {
        const int Vocabulary = 49408;
        if (name.StartsWith("first_stage_model.", StringComparison.Ordinal))
        {
            return side % 128 == 0 ? side / 4 : side;
        }
        if (side is 768 or 1024 or 2048)
        {
            return 64; // The width of the text encoder, and so of the context.
        }
        bool unet = name.StartsWith("model.", StringComparison.Ordinal);
        return unet ? side % 320 == 0 && axis < 2 ? side / 10 : side : side is 3072 or 4096 ? name.Contains("in_proj", StringComparison.Ordinal) ? 192 : 256 : side is Vocabulary or 77 ? side : 64;
    }
}
