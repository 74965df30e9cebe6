using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Tests.Models;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Parity;

/// <summary>
/// Every case of <c>whole/</c>: the UNets, autoencoders and text encoders of all families from input to output. In fast precision within the limits that
/// docs/numerics.md derives.
/// </summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Fast))]
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.FastPrecision))]
[Category("Parity")]
public sealed partial class WholeModelParityTests(string deviceName, DType storage, Precision precision)
{
    public WholeModelParityTests(string deviceName) : this(deviceName, DType.Float32, Precision.Reference)
    {
    }

    private const string TimeEmbedding = "time_embedding", LegacyVae = "_legacy_vae";

    private static readonly Dictionary<string, Lazy<(JsonElement Json, TensorFile Tensors)>> Documents = Directory
        .EnumerateFiles(Fixtures.PathOf("whole"), "*.json").Order(StringComparer.Ordinal)
        .Select(path => Path.GetFileNameWithoutExtension(path))
        .ToDictionary(name => name, name => new Lazy<(JsonElement, TensorFile)>(
            () => (Fixtures.ReadJson("whole", name + ".json"), Fixtures.ReadTensors("whole", name + ".safetensors"))));

    private Device? _device;
    private FixtureModels? _models;

    [OneTimeSetUp]
    public void Open()
    {
        _device = Device.Open(deviceName, 0, precision);
        _models = new FixtureModels(_device, Fixtures.Root, storage);
    }

    [OneTimeTearDown]
    public void Close()
    {
        _models?.Dispose();
        _device?.Dispose();
    }

    [TestCaseSource(nameof(Cases))]
    public void Forward_RecordedCase_MatchesReference(string document, int index)
    {
        (JsonElement json, TensorFile tensors) = Documents[document].Value;
        JsonElement entry = json.GetProperty("cases")[index];
        string family = json.GetProperty("family").GetString()!, model = entry.GetProperty("model").GetString()!;
        Dictionary<string, TestTensor> inputs = Named(entry.GetProperty("inputs"), tensors), outputs = Named(entry.GetProperty("outputs"), tensors);
        Dictionary<string, Computed> computed = model switch
        {
            "unet" => Unet(_models!.Unet(family), Timesteps(entry.GetProperty("inputs").GetProperty("timestep")), inputs),
            "vae_encoder" => Encode(_models!.Vae(family), inputs),
            "vae_decoder" => Decode(_models!.Vae(family), inputs),
            "text_encoder" or "text_encoder_2" => EncodeText(_models!.TextEncoder(family, model), inputs["input_ids"], outputs.Keys),
            _ => throw new NotSupportedException($"This test does not know the model {model}."),
        };

        double limit = storage != DType.Float32 ? Tolerances.HalfPrecisionTypical(storage, computed.Values.Max(one => one.Ops), _device!.Info.ProductDTypeFor(storage))
            : entry.GetProperty("tolerance").GetDouble() + (precision == Precision.Fast ? Tolerances.Winograd(WinogradSums.Of(Part(family, model))) : 0);
        foreach ((string name, TestTensor expected) in outputs)
        {
            Assert.That(computed, Does.ContainKey(name), "outputs that the test knows");
            Assert.That(computed[name].Shape, Is.EqualTo(expected.Shape), $"shape of {name}");
            double error = storage != DType.Float32 ? Tolerances.TypicalError(computed[name].Values, expected.ToSingle()) : Tolerances.PeakError(computed[name].Values, expected.ToSingle());
            TestContext.Out.WriteLine($"{name}: {error:G3}, {error / limit:F3} of the tolerance");
            if (storage != DType.Float32)
            {
                Assert.That(error, Is.LessThanOrEqualTo(limit), $"{family} {model}, {name}");
            }
            else
            {
                Tolerances.AssertPeakError(computed[name].Values, expected, limit, $"{family} {model}, {name}");
            }
        }
    }

    [TestCaseSource(nameof(TimeEmbeddings))]
    public void TimestepEmbedding_RecordedCase_MatchesReference(int index)
    {
        (JsonElement json, TensorFile tensors) = Documents[TimeEmbedding].Value;
        JsonElement entry = json.GetProperty("cases")[index];
        float[] timesteps = Timesteps(entry.GetProperty("timesteps"));
        TestTensor expected = tensors[entry.GetProperty("output").GetString()!];
        Computed computed = ModelRun.Evaluate(_models!.Device, run => run.Exec.TimestepEmbedding(
            run.Later(run.Exec.Upload<float>(timesteps, DType.Float32, timesteps.Length)),
            entry.GetProperty("dim").GetInt32(), entry.GetProperty("flip_sin_to_cos").GetBoolean(), (float)entry.GetProperty("downscale_freq_shift").GetDouble()));
        Assert.That(computed.Shape, Is.EqualTo(expected.Shape));
        Tolerances.AssertAbsoluteError(computed.Values, expected.ToSingle(), expected.Shape, entry.GetProperty("tolerance_abs").GetDouble(), expected.Name);
    }

    [TestCaseSource(nameof(LegacyFamilies))]
    public void Vae_LegacyKeyNames_SameAsTodays(string family)
    {
        AutoencoderKL today = _models!.Vae(family), legacy = _models.Vae(family + LegacyVae);
        (JsonElement json, TensorFile tensors) = Documents[family].Value;
        int compared = 0;
        foreach (JsonElement entry in json.GetProperty("cases").EnumerateArray())
        {
            string model = entry.GetProperty("model").GetString()!;
            if (model is "vae_encoder" or "vae_decoder")
            {
                Dictionary<string, TestTensor> inputs = Named(entry.GetProperty("inputs"), tensors);
                (Dictionary<string, Computed> expected, Dictionary<string, Computed> actual) = model == "vae_encoder"
                    ? (Encode(today, inputs), Encode(legacy, inputs))
                    : (Decode(today, inputs), Decode(legacy, inputs));
                foreach ((string name, Computed value) in expected)
                {
                    Tolerances.AssertEqual<float>(actual[name].Values, value.Values, value.Shape, $"{model}, {name}");
                    compared++;
                }
            }
        }
        Assert.That(compared, Is.Positive, "outputs compared");
    }

    private static IEnumerable<TestCaseData> Cases() =>
        from document in Documents
        where document.Key != TimeEmbedding
        from entry in document.Value.Value.Json.GetProperty("cases").EnumerateArray().Select((entry, index) => (entry, index))
        select new TestCaseData(document.Key, entry.index).SetArgDisplayNames(document.Key, $"{entry.index}", Describe(entry.entry));

    private static IEnumerable<TestCaseData> TimeEmbeddings() => Documents[TimeEmbedding].Value.Json.GetProperty("cases").EnumerateArray()
        .Select((entry, index) => new TestCaseData(index).SetArgDisplayNames(entry.GetProperty("output").GetString()!));

    private static IEnumerable<string> LegacyFamilies() => Directory.EnumerateDirectories(Fixtures.PathOf("models"), "*" + LegacyVae)
        .Select(folder => Path.GetFileName(folder)[..^LegacyVae.Length]);

    private static string Describe(JsonElement entry) =>
        entry.GetProperty("inputs").TryGetProperty("timestep", out JsonElement timestep)
            ? $"{entry.GetProperty("model").GetString()}, t {timestep.GetRawText().ReplaceLineEndings("").Replace(" ", "")}"
            : entry.GetProperty("model").GetString()!;

    private static Dictionary<string, TestTensor> Named(JsonElement side, TensorFile tensors) => side.EnumerateObject()
        .Where(entry => entry.Value.ValueKind == JsonValueKind.String).ToDictionary(entry => entry.Name, entry => tensors[entry.Value.GetString()!]);

    private static float[] Timesteps(JsonElement value) =>
        value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray().Select(item => item.GetSingle())] : [value.GetSingle()];

    /// <summary>The layers that a case runs.</summary>
    private Layer Part(string family, string model) => model switch
    {
        "unet" => _models!.Unet(family),
        "vae_encoder" => _models!.Vae(family).Find("encoder"),
        "vae_decoder" => _models!.Vae(family).Find("decoder"),
        _ => _models!.TextEncoder(family, model),
    };

    private Dictionary<string, Computed> Unet(UNet2DConditionModel unet, float[] timesteps, Dictionary<string, TestTensor> inputs) => new()
    {
        ["sample"] = ModelRun.Evaluate(_models!.Device, run => unet.Forward(
            run.Exec, run.Input(inputs["sample"]), timesteps, run.Input(inputs["encoder_hidden_states"]), unet.Config.AddTextTime
                ? new AddedConditions(run.Input(inputs["text_embeds"]), run.Input(inputs["time_ids"]))
                : default)),
    };

    private Dictionary<string, Computed> Encode(AutoencoderKL vae, Dictionary<string, TestTensor> inputs)
    {
        LatentDistribution? latent = null;
        Computed moments = ModelRun.Evaluate(_models!.Device, run =>
        {
            Tensor image = run.Input(inputs["image"]);
            latent = vae.Encode(run.Exec, image);
            return vae.EncodeMoments(run.Exec, image);
        });
        int[] shape = inputs["noise"].Shape;
        float[] sample = latent!.Sample(ModelRun.ToNhwc(inputs["noise"].ToSingle(), shape));
        return new()
        {
            ["moments"] = moments,
            ["mean"] = Image(latent.Mode()),
            ["std"] = Image(latent.Std.ToArray()),
            ["sample"] = Image(sample),
            ["scaled_sample"] = Image([.. sample.Select(value => (float)(value * vae.Config.ScalingFactor))]),
        };

        Computed Image(float[] values) => new(shape, ModelRun.ToNchw(values, latent.Shape));
    }

    private Dictionary<string, Computed> Decode(AutoencoderKL vae, Dictionary<string, TestTensor> inputs) => new()
    {
        ["image"] = ModelRun.Evaluate(_models!.Device, run => vae.Decode(run.Exec, run.Input(inputs["latent"]))),
    };

    private Dictionary<string, Computed> EncodeText(ClipTextModel encoder, TestTensor ids, IReadOnlyCollection<string> names)
    {
        int[][] prompts = [.. Enumerable.Range(0, ids.Shape[0]).Select(b => ids.As<long>().Skip(b * ids.Shape[1]).Take(ids.Shape[1]).Select(id => (int)id).ToArray())];
        string[] known = [.. names.Where(name => name is "last_hidden_state" or "pooler_output" or "text_embeds" || HiddenStateName().IsMatch(name) || ClipSkipName().IsMatch(name))];
        var request = new ClipTextRequest
        {
            PoolerOutput = true,
            TextEmbeds = known.Contains("text_embeds"),
            HiddenStates = [.. known.Select(HiddenState).OfType<int>()],
        };
        Computed[] computed = ModelRun.Evaluate(_models!.Device, run =>
        {
            ClipTextOutput output = encoder.Forward(run.Exec, prompts, request);
            Tensor[] tensors = [.. known.Select(name => name switch
            {
                "last_hidden_state" => output.LastHiddenState,
                "pooler_output" => output.PoolerOutput,
                "text_embeds" => output.TextEmbeds,
                _ when ClipSkipName().IsMatch(name) => encoder.FinalLayerNorm.Forward(run.Exec, run.Later(output.HiddenState(HiddenState(name)!.Value))),
                _ => output.HiddenState(HiddenState(name)!.Value),
            })];
            // What the request brought beyond the recorded outputs.
            run.Later(output.LastHiddenState);
            run.Later(output.PoolerOutput);
            return tensors;
        });
        return known.Zip(computed).ToDictionary(pair => pair.First, pair => pair.Second);
    }

    private static int? HiddenState(string name) =>
        HiddenStateName().Match(name) is { Success: true } state ? int.Parse(state.Groups[1].Value, CultureInfo.InvariantCulture)
        : ClipSkipName().Match(name) is { Success: true } skip ? -1 - int.Parse(skip.Groups[1].Value, CultureInfo.InvariantCulture)
        : null;

    [GeneratedRegex(@"^hidden_states\[(-?\d+)\]$")]
    private static partial Regex HiddenStateName();

    [GeneratedRegex(@"^clip_skip_(\d+)$")]
    private static partial Regex ClipSkipName();
}
