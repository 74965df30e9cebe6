using System.Text.Json;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Parity;

/// <summary>
/// Every run of a diffusers pipeline under <c>tasks/</c>: image to image, inpainting, instructions, depth, base and refiner, LCM, few-step models,
/// custom schedules. Token ids, the UNet's first answer, latents after every step and the picture, within the stored limits.
/// </summary>
[Category("Parity")]
[TestFixture("cpu")]
[TestFixtureSource(nameof(Gpus))]
public sealed class TaskParityTests(string deviceName)
{
    private readonly TemporaryFolder _scratch = new();
    private readonly Dictionary<string, StableDiffusionPipeline> _pipelines = [];
    private Device _device = null!;

    private static IEnumerable<TestFixtureData> Gpus => [TestDevices.Fixture(TestDevices.Gpu)];

    private static IEnumerable<TestCaseData> Cases() => Directory.EnumerateFiles(Fixtures.PathOf("tasks"), "*.json").Order()
        .Select(path => new TestCaseData(Path.GetFileNameWithoutExtension(path)).SetArgDisplayNames(Path.GetFileNameWithoutExtension(path)));

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
        _scratch.Dispose();
    }

    [TestCaseSource(nameof(Cases))]
    public void Generate_FixtureCase_MatchesDiffusers(string name)
    {
        JsonElement doc = Fixtures.ReadJson("tasks", name + ".json");
        TensorFile file = Fixtures.ReadTensors("tasks", name + ".safetensors");
        TestTensor? Stored(string meaning) => doc.GetProperty("tensors").TryGetProperty(meaning, out JsonElement key) ? file[key.GetString()!] : null;
        StableDiffusionPipeline pipeline = Pipeline(doc.GetProperty("model").GetString()!);
        GenerationRequest request = FixtureRequests.Read(doc, file);
        JsonElement tolerance = doc.GetProperty("tolerance");
        double limit = tolerance.GetProperty("latents").GetDouble();

        CheckIds(pipeline, request.Prompts, Stored("input_ids"), Stored("input_ids_2"));
        if (request.NegativePrompts is { } negatives)
        {
            CheckIds(pipeline, negatives, Stored("negative_input_ids"), Stored("negative_input_ids_2"));
        }
        PromptEmbeddings embeddings = pipeline.EncodePrompt(request);
        foreach ((string meaning, FloatTensor? actual) in new[]
        {
            ("prompt_embeds", embeddings.Prompt), ("negative_prompt_embeds", embeddings.Negative), ("pooled_prompt_embeds", embeddings.Pooled),
        })
        {
            if (Stored(meaning) is { } expected)
            {
                Assert.That(actual, Is.Not.Null, meaning);
                Tolerances.AssertPeakError(actual!.Values, expected, limit, meaning);
            }
        }

        CheckFirstUnetCall(pipeline, embeddings, request, doc.GetProperty("timesteps")[0].GetSingle(), Stored, limit);

        var seen = new List<(float Timestep, FloatTensor Latents)>();
        using GenerationResult result = pipeline.Generate(request with { StepEnd = step => seen.Add((step.Timestep, step.Latents)) });
        TestTensor latents = Stored("latents")!;
        float[] timesteps = [.. doc.GetProperty("timesteps").EnumerateArray().Select(t => t.GetSingle())];
        Tolerances.AssertElementwiseError([.. seen.Skip(1).Select(step => step.Timestep)], timesteps, [timesteps.Length], Tolerances.SchedulerTable, "timesteps");
        for (int i = 0; i < seen.Count; i++)
        {
            Tolerances.AssertPeakError(seen[i].Latents.Values, latents.Slice(i), latents.Shape[1..], limit, $"latents[{i}]");
        }
        CheckPicture(result.Images[0].Pixels, Stored("image_u8_half")!, tolerance.GetProperty("image_u8_max_difference").GetInt32());
    }

    private StableDiffusionPipeline Pipeline(string model)
    {
        if (!_pipelines.TryGetValue(model, out StableDiffusionPipeline? pipeline))
        {
            _pipelines[model] = pipeline = StableDiffusionPipeline.Load(
                PatchedModels.Folder(model, _scratch), _device, new LoadOptions { WeightDType = DType.Float32 });
        }
        return pipeline;
    }

    private static void CheckIds(StableDiffusionPipeline pipeline, IReadOnlyList<string> texts, params IEnumerable<TestTensor?> stored)
    {
        foreach ((TestTensor expected, int encoder) in stored.OfType<TestTensor>().Select((tensor, i) => (tensor, i)))
        {
            long[] ids = [.. texts.SelectMany(text => pipeline.Components.Tokenizers[encoder].EncodePadded(text).Ids).Select(id => (long)id)];
            Tolerances.AssertEqual<long>(ids, expected.As<long>(), expected.Shape, expected.Name);
        }
    }

    /// <summary>The UNet alone on what diffusers' UNet received first. Its batch tells which embeddings go with it: prompt; negative, prompt; or of instructions prompt, negative, negative.</summary>
    private void CheckFirstUnetCall(StableDiffusionPipeline pipeline, PromptEmbeddings embeddings, GenerationRequest request, float timestep,
        Func<string, TestTensor?> stored, double limit)
    {
        TestTensor input = stored("first_unet_input")!, expected = stored("first_unet_output")!;
        int halves = input.Shape[0] / stored("latents")!.Shape[1];
        FloatTensor? Rows(FloatTensor? prompt, FloatTensor? negative)
        {
            FloatTensor PerImage(FloatTensor rows) => FloatTensor.Concat(
                [.. Enumerable.Range(0, rows[0] * request.ImagesPerPrompt).Select(i => rows.Slice(i / request.ImagesPerPrompt, 1))]);
            return prompt is null ? null : halves switch
            {
                1 => PerImage(prompt),
                2 => FloatTensor.Concat(PerImage(negative!), PerImage(prompt)),
                _ => FloatTensor.Concat(PerImage(prompt), PerImage(negative!), PerImage(negative!)),
            };
        }
        FloatTensor prediction = pipeline.Components.Unet.Predict(_device, Values(input)!, timestep, Rows(embeddings.Prompt, embeddings.Negative)!,
            Rows(embeddings.Pooled, embeddings.NegativePooled), Values(stored("time_ids")), Values(stored("timestep_cond")));
        Tolerances.AssertPeakError(prediction.Values, expected, limit, "first_unet_output");
    }

    private static FloatTensor? Values(TestTensor? tensor) => tensor is null ? null : new FloatTensor(tensor.ToSingle(), tensor.Shape);

    /// <summary>Every second row and column of the first picture.</summary>
    private static void CheckPicture(ReadOnlySpan<byte> actual, TestTensor expected, int maxDifference)
    {
        byte[] values = expected.As<byte>();
        int height = expected.Shape[1], width = expected.Shape[2];
        Assert.That(actual.Length, Is.EqualTo(4 * values.Length), "bytes of the picture");
        for (int i = 0; i < values.Length; i++)
        {
            (int y, int x, int c) = (i / 3 / width, i / 3 % width, i % 3);
            byte value = actual[(((2 * y * 2 * width) + (2 * x)) * 3) + c];
            Assert.That(Math.Abs(value - values[i]), Is.LessThanOrEqualTo(maxDifference), $"row {2 * y} of {2 * height}, column {2 * x}, colour {c}: {value} for {values[i]}");
        }
    }
}
