using System.Text.Json;
using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Tests.Models;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Parity;

/// <summary>
/// Every module recorded under <c>layers/</c>, alone, with the inputs that PyTorch gave it: found by its diffusers path in the family's
/// model and compared with what PyTorch computed. In float32 against the fixture's limit, in half and in fast precision against those that
/// docs/numerics.md derives.
/// </summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.WithStorage))]
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.FastPrecision))]
[Category("Parity")]
public sealed class LayerParityTests(string deviceName, DType storage, Precision precision)
{
    public LayerParityTests(string deviceName, DType storage) : this(deviceName, storage, Precision.Reference)
    {
    }

    /// <summary>Which part of the family's model a file is about: the end of its name.</summary>
    private static readonly string[] Parts = ["unet", "vae_encoder", "vae_decoder", "text_encoder_2", "text_encoder"];

    private static readonly Dictionary<string, Lazy<(JsonElement Json, TensorFile Tensors)>> Documents = Directory
        .EnumerateFiles(Fixtures.PathOf("layers"), "*.json").Order(StringComparer.Ordinal)
        .Select(path => Path.GetFileNameWithoutExtension(path))
        .ToDictionary(name => name, name => new Lazy<(JsonElement, TensorFile)>(
            () => (Fixtures.ReadJson("layers", name + ".json"), Fixtures.ReadTensors("layers", name + ".safetensors"))));

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

    [TestCaseSource(nameof(Modules))]
    public void Forward_RecordedModule_MatchesReference(string document, int index)
    {
        (JsonElement json, TensorFile tensors) = Documents[document].Value;
        JsonElement module = json.GetProperty("modules")[index];
        Dictionary<string, TestTensor> inputs = Named(module, "inputs", tensors), outputs = Named(module, "outputs", tensors);
        Layer layer = Model(document).Find(module.GetProperty("path").GetString()!);
        var used = new HashSet<string>();
        Computed[] computed = ModelRun.Evaluate(_models!.Device, run => new Call(run, module.GetProperty("type").GetString()!, inputs, outputs, used).Forward(layer), _device!.ActivationDType(storage));

        Assert.That(used, Is.EquivalentTo(inputs.Keys), "inputs that the test knows");
        Assert.That(computed, Has.Length.EqualTo(outputs.Count), "number of outputs");
        double limit = storage != DType.Float32 ? Tolerances.HalfPrecision(storage, computed[0].Ops, _device.Info.ProductDTypeFor(storage))
            : module.GetProperty("tolerance").GetDouble() + (precision == Precision.Fast ? Tolerances.Winograd(WinogradSums.Of(layer)) : 0);
        foreach (((string name, TestTensor expected), Computed actual) in outputs.Zip(computed))
        {
            Assert.That(actual.Shape, Is.EqualTo(expected.Shape), $"shape of {name}");
            TestContext.Out.WriteLine($"{name}: {Tolerances.PeakError(actual.Values, expected.ToSingle()) / limit:F3} of the tolerance");
            Tolerances.AssertPeakError(actual.Values, expected, limit, $"{layer}, {name}");
        }
    }

    private static IEnumerable<TestCaseData> Modules() =>
        from document in Documents
        from module in document.Value.Value.Json.GetProperty("modules").EnumerateArray().Select((module, index) => (module, index))
        select new TestCaseData(document.Key, module.index).SetArgDisplayNames(
            document.Key, $"{module.index}", module.module.GetProperty("path").GetString()!, module.module.GetProperty("type").GetString()!);

    private Layer Model(string document)
    {
        string part = Array.Find(Parts, part => document.EndsWith("_" + part, StringComparison.Ordinal))
            ?? throw new NotSupportedException($"layers/{document}.json is named after no part of a model: {string.Join(", ", Parts)}.");
        string family = document[..^(part.Length + 1)];
        return part switch
        {
            "unet" => _models!.Unet(family),
            "vae_encoder" or "vae_decoder" => _models!.Vae(family),
            _ => _models!.TextEncoder(family, part),
        };
    }

    private static Dictionary<string, TestTensor> Named(JsonElement module, string side, TensorFile tensors) =>
        module.GetProperty(side).EnumerateObject().ToDictionary(entry => entry.Name, entry => tensors[entry.Value.GetString()!]);

    /// <summary>How each type of module is called, and which of the recorded inputs it takes.</summary>
    private sealed class Call(ModelRun run, string type, Dictionary<string, TestTensor> inputs, Dictionary<string, TestTensor> outputs, HashSet<string> used)
    {
        private Exec Exec => run.Exec;

        public IReadOnlyList<Tensor> Forward(Layer layer) => type switch
        {
            "Timesteps" => [((Timesteps)layer).Forward(Exec, run.Single(Take("timesteps")))],
            "TimestepEmbedding" => [((TimestepEmbedding)layer).Forward(Exec, Input("sample"))],
            "Conv2d" => [((Conv2d)layer).Forward(Exec, Input("input"))],
            "GroupNorm" => [((GroupNorm)layer).Forward(Exec, Input("input"))],
            "LayerNorm" => [((LayerNorm)layer).Forward(Exec, Input("input"))],
            "ResnetBlock2D" => [((ResnetBlock2D)layer).Forward(Exec, Input("input_tensor"), Embedding())],
            "Attention" => [Attention(layer)],
            "GEGLU" => [((GEGLU)layer).Forward(Exec, Input("hidden_states"))],
            "FeedForward" => [((FeedForward)layer).Forward(Exec, Input("hidden_states"))],
            "BasicTransformerBlock" => [((BasicTransformerBlock)layer).Forward(Exec, Input("hidden_states"), Context())],
            "Transformer2DModel" => [((Transformer2DModel)layer).Forward(Exec, Input("hidden_states"), Context())],
            "Downsample2D" => [((Downsample2D)layer).Forward(Exec, Input("hidden_states"))],
            "Upsample2D" => [((Upsample2D)layer).Forward(Exec, Input("hidden_states"), OutputSize())],
            "DownBlock2D" or "CrossAttnDownBlock2D" => DownBlock((UnetDownBlock2D)layer),
            "UNetMidBlock2DCrossAttn" => [((UNetMidBlock2DCrossAttn)layer).Forward(Exec, Input("hidden_states"), Embedding(), Context())],
            "UpBlock2D" or "CrossAttnUpBlock2D" => [UpBlock((UnetUpBlock2D)layer)],
            "DownEncoderBlock2D" => [((DownEncoderBlock2D)layer).Forward(Exec, Handed("hidden_states"))],
            "UNetMidBlock2D" => [((UNetMidBlock2D)layer).Forward(Exec, Handed("hidden_states"))],
            "UpDecoderBlock2D" => [((UpDecoderBlock2D)layer).Forward(Exec, Handed("hidden_states"))],
            "Encoder" => [((Encoder)layer).Forward(Exec, Input("sample"))],
            "Decoder" => [((Decoder)layer).Forward(Exec, Input("sample"))],
            "ClipEmbeddings" => [((ClipEmbeddings)layer).Forward(Exec, run.Ids(Take("input_ids")))],
            "ClipAttention" => [((ClipAttention)layer).Forward(Exec, Input("hidden_states"))],
            "ClipMlp" => [((ClipMlp)layer).Forward(Exec, Input("hidden_states"))],
            "ClipLayer" => [((ClipLayer)layer).Forward(Exec, Input("hidden_states"))],
            _ => throw new NotSupportedException($"This test does not know the module type {type}."),
        };

        private Tensor Attention(Layer layer) => layer switch
        {
            SelfAttention self => self.Forward(Exec, Input("hidden_states")),
            CrossAttention cross => cross.Forward(Exec, Input("hidden_states"), Context()),
            SpatialAttention spatial => spatial.Forward(Exec, Input("hidden_states")),
            _ => throw new NotSupportedException($"{layer} is no attention."),
        };

        private IReadOnlyList<Tensor> DownBlock(UnetDownBlock2D block)
        {
            var skips = new List<Tensor>();
            Tensor output = block.Forward(Exec, Input("hidden_states"), Embedding(), Context(), skips);
            return [output, .. skips];
        }

        private Tensor UpBlock(UnetUpBlock2D block)
        {
            var skips = new List<Tensor>();
            while (inputs.ContainsKey($"res_hidden_states_tuple.{skips.Count}"))
            {
                skips.Add(Handed($"res_hidden_states_tuple.{skips.Count}"));
            }
            return block.Forward(Exec, Handed("hidden_states"), Embedding(), Context(), skips, OutputSize());
        }

        /// <summary>The recorded time embedding, after the SiLU that diffusers' blocks apply themselves.</summary>
        private TimeContext Embedding() => inputs.ContainsKey("temb") ? new(run.Later(Exec.Activate(Input("temb"), Activation.Silu))) : default;

        private AttentionContext Context() => inputs.ContainsKey("encoder_hidden_states") ? new(Input("encoder_hidden_states")) : default;

        private (int, int) OutputSize() => (outputs["out"].Shape[2], outputs["out"].Shape[3]);

        private Tensor Input(string name) => run.Input(Take(name));

        private Tensor Handed(string name) => run.Handed(Take(name));

        private TestTensor Take(string name)
        {
            used.Add(name);
            return inputs[name];
        }
    }
}
