using System.Text.Json;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Parity;

/// <summary>
/// Every run of a diffusers pipeline under <c>e2e/</c>, prompt to pixels: token ids, embeddings, draws, the UNet's first answer, latents after every
/// step, the decoded picture and its bytes, within the stored limits.
/// </summary>
[Category("Parity")]
[TestFixture("cpu")]
[TestFixtureSource(nameof(Gpus))]
public sealed class EndToEndParityTests(string deviceName) : EndToEndParity(deviceName)
{
    private static IEnumerable<TestFixtureData> Gpus => [TestDevices.Fixture(TestDevices.Gpu)];

    private static IEnumerable<TestCaseData> Cases() => Directory.EnumerateFiles(Fixtures.PathOf("e2e"), "*.json").Order()
        .Select(path => new TestCaseData(Path.GetFileNameWithoutExtension(path)).SetArgDisplayNames(Path.GetFileNameWithoutExtension(path)));

    [TestCaseSource(nameof(Cases))]
    public void Generate_FixtureCase_MatchesDiffusers(string name) => Check(name);
}

/// <summary>A small case of each family through the CUDA kernels, and through a graph, where there is no GPU.</summary>
[Category("Parity")]
[TestFixtureSource(nameof(Emulated))]
public sealed class EmulatedEndToEndParityTests(string deviceName) : EndToEndParity(deviceName)
{
    private static IEnumerable<TestFixtureData> Emulated => [TestDevices.Fixture(TestDevices.Emulated)];

    [TestCase("sd1_unguided_euler8")]
    [TestCase("sd2_unipc_rescale")]
    [TestCase("sdxl_euler12")]
    [TestCase("sd1_inpaint_ddim")]
    [TestCase("sd1_img2img_ddim")]
    public void Generate_FixtureCase_MatchesDiffusers(string name) => Check(name);
}

/// <summary>What the end-to-end tests of all devices share. In float32, so that the fixtures' limits hold.</summary>
public abstract class EndToEndParity(string deviceName)
{
    private readonly Dictionary<string, StableDiffusionPipeline> _pipelines = [];
    private Device _device = null!;

    [OneTimeSetUp]
    public void Open() => _device = Device.Open(deviceName);

    [OneTimeTearDown]
    public void Close()
    {
        foreach (StableDiffusionPipeline pipeline in _pipelines.Values)
        {
            pipeline.Dispose();
        }
        _device?.Dispose();
    }

    /// <summary>Compares everything that the fixture has of a run.</summary>
    protected void Check(string name)
    {
        JsonElement doc = Fixtures.ReadJson("e2e", name + ".json");
        TensorFile file = Fixtures.ReadTensors("e2e", name + ".safetensors");
        StableDiffusionPipeline pipeline = Pipeline(doc.GetProperty("family").GetString()!);
        TestTensor? Stored(string meaning) => doc.GetProperty("tensors").TryGetProperty(meaning, out JsonElement key) ? file[key.GetString()!] : null;
        GenerationRequest request = FixtureRequests.ReadEndToEnd(doc, file);
        JsonElement tolerance = doc.GetProperty("tolerance");
        double latentLimit = tolerance.GetProperty("latents").GetDouble(), decodedLimit = tolerance.GetProperty("decoded").GetDouble();

        CheckIds(pipeline, request.Prompts, Stored("input_ids"), Stored("input_ids_2"));
        if (request.NegativePrompts is { } negatives)
        {
            CheckIds(pipeline, negatives, Stored("negative_input_ids"), Stored("negative_input_ids_2"));
        }
        PromptEmbeddings embeddings = pipeline.EncodePrompt(request);
        CheckPeak(embeddings.Prompt, Stored("prompt_embeds"), latentLimit, "prompt_embeds");
        CheckPeak(embeddings.Negative, Stored("negative_prompt_embeds"), latentLimit, "negative_prompt_embeds");
        CheckPeak(embeddings.Pooled, Stored("pooled_prompt_embeds"), latentLimit, "pooled_prompt_embeds");
        CheckPeak(embeddings.NegativePooled, Stored("negative_pooled_prompt_embeds"), latentLimit, "negative_pooled_prompt_embeds");

        TestTensor latents = Stored("latents")!;
        TestTensor timesteps = new("timesteps", "F64", [latents.Shape[0] - 1], doc.GetProperty("timesteps").EnumerateArray().Select(t => t.GetDouble()).ToArray());
        var seen = new List<(int Step, float Timestep, FloatTensor Latents)>();
        using GenerationResult result = pipeline.Generate(request with { StepEnd = step => seen.Add((step.Index, step.Timestep, step.Latents)) });

        Assert.That(seen, Has.Count.EqualTo(latents.Shape[0]), "latents: the initial ones and those after each step");
        for (int i = 0; i < seen.Count; i++)
        {
            Tolerances.AssertPeakError(seen[i].Latents.Values, latents.Slice(i), latents.Shape[1..], latentLimit, $"latents[{i}]");
            if (i > 0)
            {
                Assert.That(seen[i].Timestep, Is.EqualTo((float)timesteps.ToDouble()[i - 1]), $"timestep {i - 1}");
            }
        }
        CheckFirstUnetCall(pipeline, embeddings, request, seen[1].Timestep, Stored, latentLimit);
        CheckPicture(pipeline, result, Stored("decoded")!, decodedLimit, Stored("image_u8")!, tolerance.GetProperty("image_u8_max_difference").GetInt32());
    }

    private StableDiffusionPipeline Pipeline(string family)
    {
        if (!_pipelines.TryGetValue(family, out StableDiffusionPipeline? pipeline))
        {
            _pipelines[family] = pipeline = StableDiffusionPipeline.Load(
                Fixtures.PathOf("models", family), _device, new LoadOptions { WeightDType = DType.Float32 });
        }
        return pipeline;
    }

    private static void CheckIds(StableDiffusionPipeline pipeline, IReadOnlyList<string> texts, params ReadOnlySpan<TestTensor?> stored)
    {
        for (int e = 0; e < stored.Length; e++)
        {
            if (stored[e] is { } expected)
            {
                long[] ids = [.. texts.SelectMany(text => pipeline.Components.Tokenizers[e].EncodePadded(text).Ids).Select(id => (long)id)];
                Tolerances.AssertEqual<long>(ids, expected.As<long>(), expected.Shape, expected.Name);
            }
        }
    }

    private static void CheckPeak(FloatTensor? actual, TestTensor? expected, double limit, string what)
    {
        if (expected is not null)
        {
            Assert.That(actual, Is.Not.Null, what);
            Tolerances.AssertPeakError(actual!.Values, expected, limit, what);
        }
    }

    /// <summary>The UNet alone on what diffusers' UNet received first, through the component API.</summary>
    private void CheckFirstUnetCall(StableDiffusionPipeline pipeline, PromptEmbeddings embeddings, GenerationRequest request, float timestep,
        Func<string, TestTensor?> stored, double limit)
    {
        TestTensor input = stored("first_unet_input")!, expected = stored("first_unet_output")!;
        bool guided = request.GuidanceScale > 1;
        FloatTensor context = guided ? FloatTensor.Concat(embeddings.Negative!, embeddings.Prompt) : embeddings.Prompt;
        FloatTensor? pooled = embeddings.Pooled is null ? null : guided ? FloatTensor.Concat(embeddings.NegativePooled!, embeddings.Pooled) : embeddings.Pooled;
        FloatTensor? timeIds = stored("time_ids") is { } ids ? new FloatTensor(ids.ToSingle(), ids.Shape) : null;
        FloatTensor prediction = pipeline.Components.Unet.Predict(_device, new FloatTensor(input.ToSingle(), input.Shape), timestep, context, pooled, timeIds);
        Tolerances.AssertPeakError(prediction.Values, expected, limit, "first_unet_output");
    }

    private void CheckPicture(StableDiffusionPipeline pipeline, GenerationResult result, TestTensor decoded, double limit, TestTensor pixels, int maxDifference)
    {
        FloatTensor image = pipeline.Components.Vae.Decode(_device, result.Latents.Scale(1 / pipeline.Components.Vae.Config.ScalingFactor));
        Tolerances.AssertPeakError(image.Values, decoded, limit, "decoded");
        byte[] expected = pixels.As<byte>();
        byte[] actual = [.. result.Images.SelectMany(one => one.Pixels.ToArray())];
        Assert.That(actual, Has.Length.EqualTo(expected.Length), "image_u8");
        for (int i = 0; i < expected.Length; i++)
        {
            if (Math.Abs(actual[i] - expected[i]) > maxDifference)
            {
                Assert.Fail($"image_u8 {pixels.ShapeText}: index {i} is {actual[i]}, should be {expected[i]} within {maxDifference}");
            }
        }
    }
}
