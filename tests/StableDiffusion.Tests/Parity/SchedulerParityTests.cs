using System.Text.Json;
using System.Text.Json.Nodes;
using StableDiffusion.Schedulers;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Parity;

/// <summary>
/// Every trajectory and forward process of <c>schedulers/schedulers.json</c>: tables, scaled model inputs, draws, predictions and the
/// latents after every step, in a closed loop with the fixtures' stand-in model.
/// </summary>
[Category("Parity")]
public class SchedulerParityTests
{
    static readonly Lazy<JsonElement> Document = new(() => Fixtures.ReadJson("schedulers", "schedulers.json"));
    static readonly Lazy<TensorFile> Tensors = new(() => Fixtures.ReadTensors("schedulers", "schedulers.safetensors"));

    static IEnumerable<TestCaseData> Cases() => Document.Value.GetProperty("cases").EnumerateArray()
        .Select(entry => new TestCaseData(entry).SetArgDisplayNames(entry.GetProperty("case").GetString()!));

    static IEnumerable<TestCaseData> AddNoiseCases() => Document.Value.GetProperty("add_noise").EnumerateArray()
        .Select(entry => new TestCaseData(entry).SetArgDisplayNames(entry.GetProperty("out").GetString()!));

    [TestCaseSource(nameof(Cases))]
    public void Tables_FixtureCase_MatchReference(JsonElement entry)
    {
        (IScheduler scheduler, SchedulerRun run) = Begin(entry);
        JsonElement tensors = entry.GetProperty("tensors");
        Assert.That(scheduler.Order, Is.EqualTo(entry.GetProperty("order").GetInt32()), "order");
        Assert.That(run.InitNoiseSigma, Is.EqualTo(entry.GetProperty("init_noise_sigma").GetDouble()).Within(Tolerances.SchedulerTable * 100).Percent, "init_noise_sigma");
        AssertTable(run.Timesteps, tensors, "timesteps");
        AssertTable(run.Sigmas, tensors, "sigmas");
        AssertTable(run.AlphasCumprod, tensors, "alphas_cumprod");
    }

    [TestCaseSource(nameof(Cases))]
    public void Trajectory_FixtureCase_MatchesReference(JsonElement entry)
    {
        (_, SchedulerRun run) = Begin(entry);
        double limit = entry.GetProperty("tolerance").GetDouble();
        TestTensor latents = Tensor(entry, "latents")!, outputs = Tensor(entry, "model_outputs")!;
        TestTensor? inputs = Tensor(entry, "model_inputs"), originals = Tensor(entry, "pred_original"), noise = Tensor(entry, "noise");
        int[] shape = latents.Shape[1..];
        var ops = new HostStepOps(shape[0]);
        using var executor = new StepExecutor<float[]>(ops);
        var drawnAt = new List<int>();

        float[] sample = InitialLatents(entry, run, ops);
        double carried = 0;
        Check(sample, latents.Slice(0), "latents[0]");
        for (int call = run.FirstCall, i = 0; call < run.Timesteps.Count; call++, i++)
        {
            float[] input = ops.Allocate(sample);
            ops.Combine(input, [sample], [run.InputScale(call)]);
            Check(input, (inputs ?? latents).Slice(i), $"model_inputs[{i}]");
            float[] output = FakeModel(input, run.Timesteps[call]);
            Check(output, outputs.Slice(i), $"model_outputs[{i}]");

            StepProgram program = run.Step(call);
            float[]? draw = null;
            if (program.DrawsNoise)
            {
                Assert.That(noise, Is.Not.Null, $"step {i} draws noise; the reference draws none");
                draw = noise!.Slice(drawnAt.Count);
                drawnAt.Add(i);
            }
            carried += Tolerances.StepRounding * sample.Max(Math.Abs);
            float[] original = executor.Execute(program, sample, output, draw);
            Check(sample, latents.Slice(i + 1), $"latents[{i + 1}]");
            if (originals is not null)
            {
                Check(original, originals.Slice(i), $"pred_original[{i}]");
            }
        }
        Tolerances.AssertPeakError(sample, latents.Slice(latents.Shape[0] - 1), shape, limit, "the last latents");
        Assert.That(drawnAt, Is.EqualTo(entry.GetProperty("noise_drawn_at_call").EnumerateArray().Select(call => call.GetInt32())), "noise_drawn_at_call");

        void Check(float[] actual, float[] expected, string what) =>
            Tolerances.AssertAbsoluteError(actual, expected, shape, limit * expected.Max(Math.Abs) + carried, what);
    }

    [TestCaseSource(nameof(AddNoiseCases))]
    public void AddNoise_FixtureCase_MatchesReference(JsonElement entry)
    {
        (_, SchedulerRun run) = Begin(entry);
        var timestep = (float)entry.GetProperty("timestep").GetDouble();
        // Where a timestep occurs twice, diffusers takes the second occurrence.
        int call = run.Timesteps.Select((t, i) => (t, i)).Where(pair => Math.Abs(pair.t - timestep) <= 1e-3f).Take(2).Last().i;
        TestTensor expected = Tensors.Value[entry.GetProperty("out").GetString()!];
        Tolerances.AssertPeakError(AddNoise(run, call, new HostStepOps(1)), expected, Tolerances.ElementwiseFloat32, "add_noise");
    }

    static IEnumerable<TestCaseData> EndToEndCases() => Directory.EnumerateFiles(Fixtures.PathOf("e2e"), "*.json").Order(StringComparer.Ordinal)
        .Select(path => Fixtures.ReadJson("e2e", Path.GetFileName(path)))
        .Select(entry => new TestCaseData(entry).SetArgDisplayNames(entry.GetProperty("name").GetString()!));

    /// <summary>The schedule inside a pipeline run: the timesteps from the first call on, and the steps at which it draws.</summary>
    [TestCaseSource(nameof(EndToEndCases))]
    public void Schedule_EndToEndCase_MatchesReference(JsonElement entry)
    {
        Scheduler scheduler = Read(entry.GetProperty("scheduler"));
        if (!entry.GetProperty("pipeline").GetString()!.StartsWith("StableDiffusionXL", StringComparison.Ordinal))
        {
            scheduler = scheduler.WithLegacyConfigFixes();
        }
        int steps = entry.GetProperty("steps").GetInt32();
        double strength = entry.TryGetProperty("strength", out JsonElement given) && given.ValueKind == JsonValueKind.Number ? given.GetDouble() : 1;
        double eta = entry.TryGetProperty("pipeline_arguments", out JsonElement arguments) && arguments.TryGetProperty("eta", out given) ? given.GetDouble() : 0;
        SchedulerRun run = scheduler.Begin(
            steps, new SchedulerStart { FirstCall = SchedulerStart.FirstCallFor(steps, strength, scheduler.Order), Eta = eta });
        float[] visited = [.. run.Timesteps.Skip(run.FirstCall)];
        float[] expected = [.. entry.GetProperty("timesteps").EnumerateArray().Select(t => t.GetSingle())];
        Tolerances.AssertPeakError(visited, expected, [expected.Length], Tolerances.SchedulerTable, "timesteps");
        Assert.That(
            Enumerable.Range(0, visited.Length).Where(step => run.Step(run.FirstCall + step).DrawsNoise),
            Is.EqualTo(entry.GetProperty("draws").EnumerateArray().Select(draw => draw.GetProperty("during_step").GetInt32()).Where(step => step >= 0).Distinct()),
            "steps that draw noise");
    }

    static Scheduler Read(JsonElement entry)
    {
        string name = entry.GetProperty("class").GetString()!;
        if (!Scheduler.Names.Contains(name))
        {
            Assert.Fail($"There is no {name}.");
        }
        JsonObject config = JsonObject.Create(entry.GetProperty("config"))!.DeepClone().AsObject();
        config["_class_name"] = name;
        return Scheduler.FromConfig(JsonSerializer.SerializeToElement(config));
    }

    static (IScheduler Scheduler, SchedulerRun Run) Begin(JsonElement entry)
    {
        Scheduler scheduler = Read(entry);
        var start = new SchedulerStart { FirstCall = entry.TryGetProperty("first", out JsonElement first) ? first.GetInt32() : 0 };
        if (entry.TryGetProperty("step_arguments", out JsonElement arguments))
        {
            foreach (JsonProperty argument in arguments.EnumerateObject())
            {
                start = argument.Name switch
                {
                    "eta" => start with { Eta = argument.Value.GetDouble() },
                    "use_clipped_model_output" => start with { UseClippedModelOutput = argument.Value.GetBoolean() },
                    "s_churn" => start with { Churn = argument.Value.GetDouble() },
                    "s_tmin" => start with { ChurnMinSigma = argument.Value.GetDouble() },
                    "s_tmax" => start with { ChurnMaxSigma = argument.Value.GetDouble() },
                    "s_noise" => start with { ChurnNoise = argument.Value.GetDouble() },
                    _ => throw new NotSupportedException($"The step argument {argument.Name} is unknown to this test."),
                };
            }
        }
        return (scheduler, scheduler.Begin(entry.GetProperty("num_inference_steps").GetInt32(), start));
    }

    static TestTensor? Tensor(JsonElement entry, string meaning) =>
        entry.GetProperty("tensors").TryGetProperty(meaning, out JsonElement key) ? Tensors.Value[key.GetString()!] : null;

    static float[] Start(string meaning) =>
        Tensors.Value[Document.Value.GetProperty("start_tensors").GetProperty(meaning).GetString()!].ToSingle();

    static float[] InitialLatents(JsonElement entry, SchedulerRun run, HostStepOps ops)
    {
        if (entry.GetProperty("strength").ValueKind != JsonValueKind.Null)
        {
            return AddNoise(run, run.FirstCall, ops);
        }
        float[] noise = Start("unit_noise");
        float[] latents = ops.Allocate(noise);
        ops.Combine(latents, [noise], [run.InitNoiseSigma]);
        return latents;
    }

    static float[] AddNoise(SchedulerRun run, int call, HostStepOps ops)
    {
        float[] clean = Start("clean"), noise = Start("forward_noise"), noisy = ops.Allocate(clean);
        (double ofSignal, double ofNoise) = run.AddNoise(call);
        ops.Combine(noisy, [clean, noise], [ofSignal, ofNoise]);
        return noisy;
    }

    /// <summary>a * cos(t / 1000) * x + b * sin(c * x), in float32 but for the cosine.</summary>
    static float[] FakeModel(float[] x, float t)
    {
        JsonElement model = Document.Value.GetProperty("fake_model");
        float b = model.GetProperty("b").GetSingle(), c = model.GetProperty("c").GetSingle();
        var linear = (float)(model.GetProperty("a").GetDouble() * Math.Cos(t / 1000.0));
        return Array.ConvertAll(x, value => linear * value + b * MathF.Sin(c * value));
    }

    /// <summary>Whole timesteps are compared exactly, fractional ones against the largest, noise levels and alphas each against itself.</summary>
    static void AssertTable(IReadOnlyList<float> actual, JsonElement tensors, string meaning)
    {
        if (!tensors.TryGetProperty(meaning, out JsonElement key))
        {
            return;
        }
        TestTensor expected = Tensors.Value[key.GetString()!];
        if (expected.DType == "I64")
        {
            Tolerances.AssertEqual<double>([.. actual], expected.ToDouble(), expected.Shape, meaning);
        }
        else if (meaning == "timesteps")
        {
            Tolerances.AssertPeakError([.. actual], expected, Tolerances.SchedulerTable, meaning);
        }
        else
        {
            Tolerances.AssertElementwiseError([.. actual], expected.ToSingle(), expected.Shape, Tolerances.SchedulerTable, meaning);
        }
    }
}
