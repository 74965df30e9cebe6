using StableDiffusion.Models;
using StableDiffusion.Models.Clip;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Nn;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Models;

/// <summary>
/// The published architectures have the published number of parameters: a layer that is missing, or has another width, shows here. The
/// numbers were derived layer by layer without this library, from the published configs; that of the SD 1.5 UNet is also in its model card.
/// </summary>
public class ArchitectureTests
{
    [TestCase("sd15", 859_520_964)]
    [TestCase("sd21", 865_910_724)]
    [TestCase("sdxl", 2_567_463_684)]
    public void Unet_ParameterCount_IsThatOfThePublishedModel(string name, long expected) =>
        Assert.That(Declare(builder => new UNet2DConditionModel(builder, Architecture.Find(name).Unet)).ParameterCount, Is.EqualTo(expected));

    [TestCase("sd15", 34_163_664, 49_490_199)]
    [TestCase("sd21", 34_163_664, 49_490_199)]
    [TestCase("sdxl", 34_163_664, 49_490_199)]
    public void Vae_ParameterCount_IsThatOfThePublishedModel(string name, long encoder, long decoder)
    {
        AutoencoderKL vae = Declare(builder => new AutoencoderKL(builder, Architecture.Find(name).Vae));
        Assert.Multiple(() =>
        {
            Assert.That(vae.Find("encoder").ParameterCount + vae.Find("quant_conv").ParameterCount, Is.EqualTo(encoder), "encoder");
            Assert.That(vae.Find("decoder").ParameterCount + vae.Find("post_quant_conv").ParameterCount, Is.EqualTo(decoder), "decoder");
        });
    }

    [TestCase("sd15", 0, 123_060_480)]
    [TestCase("sd21", 0, 340_387_840)]
    [TestCase("sdxl", 0, 123_060_480)]
    [TestCase("sdxl", 1, 694_659_840)]
    public void TextEncoder_ParameterCount_IsThatOfThePublishedModel(string name, int index, long expected) =>
        Assert.That(Declare(builder => new ClipTextModel(builder, Architecture.Find(name).TextEncoders[index])).ParameterCount, Is.EqualTo(expected));

    [TestCaseSource(nameof(Names))]
    public void TextEncoders_HiddenSizes_AddUpToTheContextOfTheUnet(string name)
    {
        Architecture architecture = Architecture.Find(name);
        Assert.That(architecture.Unet.CrossAttentionDim, Is.All.EqualTo(architecture.TextEncoders.Sum(encoder => encoder.HiddenSize)));
    }

    [Test]
    public void Find_UnknownName_ListsTheKnownOnes() =>
        Assert.That(() => Architecture.Find("sd3"), Throws.ArgumentException.With.Message.Contains("'sd3', only sd15, sd21, sdxl"));

    private static IEnumerable<string> Names() => Architecture.All.Select(architecture => architecture.Name);

    /// <summary>A model that is declared but never loaded: its weights would fill gigabytes.</summary>
    private static TModel Declare<TModel>(Func<LayerBuilder, TModel> declare)
    {
        using var device = Device.Open("cpu", threads: 1);
        return declare(new LayerBuilder(device, DType.Float32, new WeightScope(new RandomWeightSource())));
    }
}
