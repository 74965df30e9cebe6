using System.Text.Json;
using StableDiffusion.Models;
using StableDiffusion.Models.Clip;
using StableDiffusion.Models.SingleFile;
using StableDiffusion.Models.Unet;
using StableDiffusion.Models.Vae;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;
using StableDiffusion.Tests.Support;
using StableDiffusion.Weights;

namespace StableDiffusion.Tests.Models.SingleFile;

/// <summary>
/// The published checkpoints, by name and shape: every tensor goes where diffusers' own converters put it (fixtures single_file/), none is left
/// over, and the configuration worked out is that of the published folder.
/// </summary>
[TestFixture("sd15", "sd15", ModelFamily.StableDiffusion1)]
[TestFixture("sd21", "sd21", ModelFamily.StableDiffusion2)]
[TestFixture("sdxl_base", "sdxl", ModelFamily.StableDiffusionXL)]
[TestFixture("sdxl_refiner", "sdxl-refiner", ModelFamily.StableDiffusionXLRefiner)]
public sealed class PublishedCheckpointTests(string fixture, string architecture, ModelFamily family)
{
    private Dictionary<string, long[]> _original = null!, _unused = null!;
    private List<(string Component, string Key, long[] Shape, string Original, string? Operation)> _rows = null!;
    private JsonElement _json;

    [OneTimeSetUp]
    public void Read()
    {
        _json = Fixtures.ReadJson("single_file", $"{fixture}.json.gz");
        _original = Shapes(_json.GetProperty("original"));
        _unused = Shapes(_json.GetProperty("unused"));
        _rows = [.. _json.GetProperty("tensors").EnumerateArray().Select(row => (row[0].GetString()!, row[1].GetString()!,
            row[2].EnumerateArray().Select(side => side.GetInt64()).ToArray(), row[3].GetString()!, row.GetArrayLength() > 4 ? row[4].GetString() : null))];
    }

    [Test]
    public void Kind_OfTheFile_IsItsFamily()
    {
        using SingleFileModel model = Open();

        Assert.Multiple(() =>
        {
            Assert.That(model.Kind.Family, Is.EqualTo(family));
            Assert.That(model.Kind.InChannels, Is.EqualTo(4));
            Assert.That(model.Prediction, Is.EqualTo(family == ModelFamily.StableDiffusion2 ? null : (PredictionType?)PredictionType.Epsilon));
        });
    }

    [Test]
    public void OpenWeights_EveryComponent_HasTheTensorsOfDiffusersWithTheirShapes()
    {
        using SingleFileModel model = Open();
        foreach (var component in _rows.GroupBy(row => row.Component))
        {
            using IWeightSource weights = model.OpenWeights(component.Key);

            string[] extra = family == ModelFamily.StableDiffusion2 && component.Key == "text_encoder" ? ["text_projection.weight"] : [];
            Assert.That(weights.Names!.Except(extra), Is.EquivalentTo(component.Select(row => row.Key)), component.Key);
            foreach (var row in component)
            {
                Assert.That(weights.Find(row.Key, [])!.Shape, Is.EqualTo(row.Shape), row.Key);
                Assert.That(weights.Describe(row.Key), Is.EqualTo(row.Key == row.Original ? "names.safetensors" : $"names.safetensors: {row.Original}"));
            }
        }
    }

    [Test]
    public void OpenWeights_PartsAndTransposes_AreThoseOfDiffusers()
    {
        using SingleFileModel model = Open();
        foreach (var row in _rows.Where(row => row.Operation is not (null or "squeeze") && (row.Key.EndsWith("bias", StringComparison.Ordinal) || row.Key.Contains("layers.0.", StringComparison.Ordinal) || row.Operation == "transpose")))
        {
            using IWeightSource weights = model.OpenWeights(row.Component);
            WeightInfo info = weights.Find(row.Key, [])!;
            using HostTensor tensor = new(row.Key, info);
            weights.Read(row.Key, info, tensor.Bytes);
            float[] values = tensor.ToArray();

            // Every element of the original is the number of its row.
            (float first, float last) = row.Operation == "transpose" ? (0, row.Shape[1] - 1) : Range(row.Operation!);
            Assert.That((values[0], values[^1]), Is.EqualTo((first, last)), row.Key);
            if (row.Operation == "transpose")
            {
                Assert.That(values[1], Is.EqualTo(1), row.Key);
            }
        }
    }

    [Test]
    public void Load_EveryComponent_TakesAllTensorsAndNoOthers()
    {
        using SingleFileModel model = Open(readable: false);
        using Device device = Device.Open("cpu", threads: 1);
        Assert.Multiple(() =>
        {
            Assert.That(() => UNet2DConditionModel.Load(model.ReadUnetConfig(), model.OpenWeights("unet"), device), Throws.TypeOf<NoNumbersException>());
            Assert.That(() => AutoencoderKL.Load(model.ReadVaeConfig(), model.OpenWeights("vae"), device), Throws.TypeOf<NoNumbersException>());
            foreach (string encoder in model.TextEncoders)
            {
                Assert.That(() => ClipTextModel.Load(model.ReadTextEncoderConfig(encoder), model.OpenWeights(encoder), device), Throws.TypeOf<NoNumbersException>());
            }
        });
    }

    [Test]
    public void Configs_WorkedOut_AreThoseOfThePublishedFolder()
    {
        using SingleFileModel model = Open();
        Architecture published = Architecture.Find(architecture);
        UnetConfig unet = model.ReadUnetConfig();
        Assert.Multiple(() =>
        {
            // Depths of levels without attention mean nothing, so they are compared by the tensors above.
            Assert.That(ConfigJson.Of(unet with { TransformerLayersPerBlock = published.Unet.TransformerLayersPerBlock, UpTransformerLayersPerBlock = published.Unet.UpTransformerLayersPerBlock }).ToJsonString(),
                Is.EqualTo(ConfigJson.Of(published.Unet).ToJsonString()));
            Assert.That(ConfigJson.Of(model.ReadVaeConfig()).ToJsonString(), Is.EqualTo(ConfigJson.Of(published.Vae).ToJsonString()));
            Assert.That(model.TextEncoders, Has.Count.EqualTo(published.TextEncoders.Length));
            foreach ((string name, ClipTextConfig config) in model.TextEncoders.Zip(published.TextEncoders))
            {
                Assert.That(ConfigJson.Of(model.ReadTextEncoderConfig(name)).ToJsonString(), Is.EqualTo(ConfigJson.Of(config).ToJsonString()), name);
            }
        });
    }

    [Test]
    public void ToOriginal_DiffusersNames_AreTheOriginalFile()
    {
        using SingleFileModel model = Open();
        using IWeightSource back = SingleFileWriter.Original(model);

        Assert.That(back.Names, Is.EquivalentTo(_original.Keys));
        foreach ((string name, long[] shape) in _original)
        {
            Assert.That(back.Find(name, [])!.Shape, Is.EqualTo(shape), name);
        }
    }

    [Test]
    public void Kind_Variants_AreTheirTasks()
    {
        foreach (JsonProperty variant in _json.GetProperty("variants").EnumerateObject())
        {
            var shapes = new Dictionary<string, long[]>(_original)
            {
                [variant.Value.GetProperty("tensor").GetString()!] = [.. variant.Value.GetProperty("shape").EnumerateArray().Select(side => side.GetInt64())],
            };
            using SingleFileModel model = SingleFileModel.From(new NamesOnlySource(shapes));

            string task = variant.Name switch { "inpainting" => "Inpaint", "depth" => "Depth2Img", _ => "InstructPix2Pix" };
            Assert.That(model.ClassName, Is.EqualTo($"StableDiffusion{(family == ModelFamily.StableDiffusionXL ? "XL" : "")}{task}Pipeline"));
            Assert.That(model.ReadUnetConfig().InChannels, Is.EqualTo(variant.Name switch { "inpainting" => 9, "depth" => 5, _ => 8 }));
        }
    }

    [Test]
    public void From_UnknownTensor_IsRefusedByName() =>
        Assert.That(() => SingleFileModel.From(new NamesOnlySource(_original.Append(new("model.diffusion_model.extra.weight", [1])))),
            Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("'model.diffusion_model.extra.weight'"));

    [Test]
    public void OpenWeights_NoVae_SaysHowToGiveOne()
    {
        using SingleFileModel model = SingleFileModel.From(new NamesOnlySource(_original.Where(pair => !pair.Key.StartsWith("first_stage_model.", StringComparison.Ordinal))));

        Assert.That(() => model.ReadVaeConfig(), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("has no VAE").And.Message.Contains("--vae"));
    }

    [Test]
    public void OpenWeights_UnetAlone_SaysThatTheTextEncoderIsMissing()
    {
        using SingleFileModel model = SingleFileModel.From(new NamesOnlySource(_original.Where(pair => pair.Key.StartsWith("model.", StringComparison.Ordinal))));

        Assert.That(model.Kind.Family, Is.EqualTo(family));
        Assert.That(() => model.ReadTextEncoderConfig(model.Kind.NeededTextEncoders[0]), Throws.TypeOf<InvalidWeightsException>().With.Message.Contains("without its text encoder"));
    }

    private SingleFileModel Open(bool readable = true) => SingleFileModel.From(new NamesOnlySource(_original.Concat(_unused), readable));

    private static (float First, float Last) Range(string operation)
    {
        string[] ends = operation["rows ".Length..].Split("..");
        return (int.Parse(ends[0], null), int.Parse(ends[1], null) - 1);
    }

    private static Dictionary<string, long[]> Shapes(JsonElement json) =>
        json.EnumerateObject().ToDictionary(entry => entry.Name, entry => entry.Value.EnumerateArray().Select(side => side.GetInt64()).ToArray());
}
