using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Models;

/// <summary>Loading: files of other spellings give the same model, wrong ones a sentence, and neither leaves native memory behind.</summary>
public sealed class ModelLoadTests
{
    private const string Family = "sd1";
    private static readonly int[][] Prompt = [[598, 5, 6, 7, 599, 599]];
    private Device _device = null!;

    [OneTimeSetUp]
    public void Open() => _device = Device.Open("cpu", threads: 2);

    [OneTimeTearDown]
    public void Close() => _device.Dispose();

    [Test]
    public void Load_MissingTensor_IsNamedWithItsFile() => AssertRefused(
        TextWeights().Without("text_model.encoder.layers.1.mlp.fc2.bias"), "'text_model.encoder.layers.1.mlp.fc2.bias' [32] is missing from 'tampered.safetensors'");

    [Test]
    public void Load_WrongShape_IsNamedWithBothShapes() => AssertRefused(
        TextWeights().With("text_model.encoder.layers.0.layer_norm1.weight", 33), "'text_model.encoder.layers.0.layer_norm1.weight'", "[33]", "[32]");

    [Test]
    public void Load_UnknownTensor_IsNamed() => AssertRefused(TextWeights().With("text_model.encoder.layers.3.mlp.fc1.bias", 4), "no place for", "text_model.encoder.layers.3.mlp.fc1.bias");

    [Test]
    public void Load_ReadingFailsHalfWay_IsThatErrorAndLeavesNothing()
    {
        MemoryWeightSource weights = TextWeights();
        weights.Unreadable = "text_model.encoder.layers.2.mlp.fc2.weight";
        AssertRefused(weights, "ends within 'text_model.encoder.layers.2.mlp.fc2.weight'");
    }

    [Test]
    public void Load_Cancelled_StopsAndLeavesNothing()
    {
        using var cancellation = new CancellationTokenSource();
        MemoryWeightSource weights = TextWeights();
        int reads = 0;
        weights.OnRead = () =>
        {
            if (Interlocked.Increment(ref reads) == 5)
            {
                cancellation.Cancel();
            }
        };
        long before = NativeLibraryLocator.LiveHandles;
        Assert.That(() => ClipTextModel.Load(TextConfig(), weights, _device, cancellation: cancellation.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(reads, Is.LessThan(weights.Names.Count), "tensors read");
        Assert.That(NativeLibraryLocator.LiveHandles, Is.EqualTo(before));
    }

    [Test]
    public void Load_FolderOfAnotherWidth_NamesTensorAndFile()
    {
        UnetConfig other = UnetConfig.Read(OwnFixtures.PathOf("models", Family, "unet")) with { InChannels = 9 };
        using IWeightSource weights = WeightFolder.Open(OwnFixtures.PathOf("models", Family, "unet"));
        Assert.That(() => UNet2DConditionModel.Load(other, weights, _device), Throws.TypeOf<InvalidWeightsException>()
            .With.Message.Contains("'conv_in.weight'").And.Message.Contains("diffusion_pytorch_model.safetensors").And.Message.Contains("[16, 9, 3, 3]"));
    }

    [Test]
    public void Dispose_Model_FreesEveryWeight()
    {
        long before = NativeLibraryLocator.LiveHandles;
        UNet2DConditionModel unet = UNet2DConditionModel.Load(OwnFixtures.PathOf("models", Family, "unet"), _device);
        long during = NativeLibraryLocator.LiveHandles;
        unet.Dispose();
        Assert.That((during > before, NativeLibraryLocator.LiveHandles), Is.EqualTo((true, before)));
    }

    [Test]
    public void WeightBytes_LoadedModel_AreAboutFourPerParameter()
    {
        using UNet2DConditionModel unet = UNet2DConditionModel.Load(OwnFixtures.PathOf("models", Family, "unet"), _device);
        // Packing may pad every weight to whole vectors and cache lines; it must not multiply it.
        Assert.That(unet.WeightBytes, Is.InRange(4 * unet.ParameterCount, 16 * unet.ParameterCount));
    }

    [Test]
    public void Forward_BeforeLoading_SaysWhatToDo()
    {
        var builder = new Nn.LayerBuilder(_device, DType.Float32, new WeightScope(new RandomWeightSource()));
        var linear = new Nn.Linear(builder["proj"], 4, 4);
        using Exec exec = Exec.Measure(_device);
        Assert.That(() => linear.Forward(exec, exec.Alloc(DType.Float32, 1, 4)), Throws.InvalidOperationException.With.Message.Contains("'proj' was not loaded"));
    }

    [TestCase(DType.Float64)]
    [TestCase(DType.Int32)]
    public void Load_StorageThatIsNone_IsRefused(DType storage) => Assert.That(
        () => ClipTextModel.Load(OwnFixtures.PathOf("models", Family, "text_encoder"), _device, storage), Throws.ArgumentException.With.Message.Contains("Float32, Float16, BFloat16 or Int8"));

    [Test]
    public void TextEncoder_KeysWithoutPrefix_GiveTheSameModelUnderTheSamePaths()
    {
        MemoryWeightSource bare = TextWeights().Change(name => name.Replace("text_model.", ""));
        using ClipTextModel expected = ClipTextModel.Load(TextConfig(), TextWeights(), _device);
        using ClipTextModel actual = ClipTextModel.Load(TextConfig(), bare, _device);
        Assert.That(actual.Find("text_model.encoder.layers.0.self_attn").Path, Is.EqualTo("text_model.encoder.layers.0.self_attn"));
        Assert.That(Encode(actual), Is.EqualTo(Encode(expected)));
    }

    [Test]
    public void TextEncoder_UnusedBuffersAndProjection_AreIgnored()
    {
        // position_ids is in the fixture's own file too, as int64, which no layer could take.
        MemoryWeightSource weights = TextWeights().With("text_projection.weight", 32, 32).With("text_model.embeddings.position_ids", 1, 77);
        using ClipTextModel encoder = ClipTextModel.Load(TextConfig(), weights, _device);
        Assert.That(encoder.Config.WithProjection, Is.False);
    }

    [Test]
    public void Vae_AttentionAsConvolutions_GivesTheSameModel()
    {
        MemoryWeightSource squeezed = VaeWeights("sd1_legacy_vae"), convolutions = VaeWeights("sd1_legacy_vae").Change(name => name, (name, shape) =>
            name.Contains("mid_block.attentions.0") && shape.Length == 2 ? [.. shape, 1, 1] : shape);
        VaeConfig config = VaeConfig.Read(OwnFixtures.PathOf("models", "sd1_legacy_vae", "vae"));
        using AutoencoderKL expected = AutoencoderKL.Load(config, squeezed, _device);
        using AutoencoderKL actual = AutoencoderKL.Load(config, convolutions, _device);
        Assert.That(Decode(actual), Is.EqualTo(Decode(expected)));
    }

    private void AssertRefused(MemoryWeightSource weights, params string[] parts)
    {
        long before = NativeLibraryLocator.LiveHandles;
        InvalidWeightsException? failure = Assert.Throws<InvalidWeightsException>(() => ClipTextModel.Load(TextConfig(), weights, _device));
        Assert.Multiple(() =>
        {
            foreach (string part in parts.Append("tampered.safetensors"))
            {
                Assert.That(failure!.Message, Does.Contain(part));
            }
            Assert.That(NativeLibraryLocator.LiveHandles, Is.EqualTo(before), "native objects left");
        });
    }

    private static ClipTextConfig TextConfig() => ClipTextConfig.Read(OwnFixtures.PathOf("models", Family, "text_encoder"));

    private static MemoryWeightSource TextWeights() => MemoryWeightSource.FromFixture("models", Family, "text_encoder", "model.safetensors");

    private static MemoryWeightSource VaeWeights(string family) => MemoryWeightSource.FromFixture("models", family, "vae", "diffusion_pytorch_model.safetensors");

    private float[] Encode(ClipTextModel encoder) => ModelRun.Evaluate(_device, run => encoder.Forward(run.Exec, Prompt).LastHiddenState).Values;

    private float[] Decode(AutoencoderKL vae) => ModelRun.Evaluate(_device, run => vae.Decode(run.Exec, run.Random(1, 1, 3, 5, 4))).Values;
}
