using StableDiffusion.Imaging;

namespace StableDiffusion.Tests.Imaging;

/// <summary>The "parameters" form: as web UIs write it, and back for any prompt.</summary>
public class GenerationParametersTests
{
    private static readonly GenerationParameters Sample = new()
    {
        Prompt = "a red circle",
        NegativePrompt = "blurry",
        Steps = 20,
        Sampler = "Euler a",
        ScheduleType = "Karras",
        CfgScale = 7,
        Seed = 1024,
        Width = 512,
        Height = 768,
        Model = "shapes-v1",
        Other = [new("Denoising strength", "0.75"), new("Clip skip", "2")],
        Version = "v1",
    };

    [Test]
    public void ToString_AllSettings_IsTheFormOfWebUis()
        => Assert.That(Sample.ToString(), Is.EqualTo(
            "a red circle\nNegative prompt: blurry\n"
            + "Steps: 20, Sampler: Euler a, Schedule type: Karras, CFG scale: 7, Seed: 1024, Size: 512x768, Model: shapes-v1, Denoising strength: 0.75, Clip skip: 2, Version: v1"));

    [Test]
    public void ToString_NoNegativePrompt_HasNoSuchLine()
        => Assert.That(new GenerationParameters { Prompt = "p", Steps = 1, Seed = 2 }.ToString(), Is.EqualTo($"p\nSteps: 1, Seed: 2, Version: {GenerationParameters.ThisVersion}"));

    [Test]
    public void ToString_ValuesWithSeparators_AreJsonStrings()
        => Assert.That((Sample with { Model = "a: \"b\", c\nd", Other = [] }).ToString(), Does.EndWith("Model: \"a: \\\"b\\\", c\\nd\", Version: v1"));

    /// <summary>A text as AUTOMATIC1111's web UI writes it.</summary>
    [Test]
    public void Parse_TextOfAWebUi_ReadsEverything()
    {
        GenerationParameters parameters = GenerationParameters.Parse("""
            photo of a (red:1.2) cat, 35mm,
            best quality
            Negative prompt: blurry, bad: hands
            second line
            Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 4294967297, Size: 640x960, Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Hires prompt: "a, b: \"c\"", Lora hashes: "x: 12, y: 34", Version: v1.9.4
            """);
        Assert.Multiple(() =>
        {
            Assert.That(parameters.Prompt, Is.EqualTo("photo of a (red:1.2) cat, 35mm,\nbest quality"));
            Assert.That(parameters.NegativePrompt, Is.EqualTo("blurry, bad: hands\nsecond line"));
            Assert.That((parameters.Steps, parameters.Sampler, parameters.ScheduleType, parameters.CfgScale), Is.EqualTo((30, "DPM++ 2M", "Karras", 7.5)));
            Assert.That((parameters.Seed, parameters.Width, parameters.Height), Is.EqualTo((4294967297ul, 640, 960)));
            Assert.That((parameters.Model, parameters.Version), Is.EqualTo(("v1-5-pruned-emaonly", "v1.9.4")));
            Assert.That(parameters.Other, Is.EqualTo(new KeyValuePair<string, string>[] { new("Model hash", "6ce0161689"), new("Hires prompt", "a, b: \"c\""), new("Lora hashes", "x: 12, y: 34") }));
        });
    }

    [TestCase("")]
    [TestCase("a red circle on a blue background")]
    [TestCase("two\nlines, and a comma: \"quoted\" text")]
    [TestCase("ends with a comma,")]
    [TestCase("\n\nblank lines\n\n")]
    [TestCase("  blanks at the ends  ")]
    [TestCase("a line with blanks  \nat its end")]
    [TestCase("a\nNegative prompt: not the negative one")]
    [TestCase("Negative prompt: x")]
    [TestCase("Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1")]
    [TestCase("x\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1")]
    [TestCase("carriage\r\nreturn")]
    [TestCase("tab\tand \"\\backslash\\\" 'quotes'")]
    [TestCase("\u732B caf\u00E9 \U0001F431")]
    [TestCase("nul\0inside")]
    [TestCase("\"")]
    [TestCase("Prompt: hm, Seed: 7")]
    public void ToStringThenParse_AnyPrompt_IsTheSame(string prompt)
    {
        GenerationParameters parameters = Sample with { Prompt = prompt };
        GenerationParameters negative = Sample with { NegativePrompt = prompt };
        GenerationParameters few = new() { Prompt = prompt, NegativePrompt = prompt, Seed = 5 };
        Assert.Multiple(() =>
        {
            Assert.That(GenerationParameters.Parse(parameters.ToString()), Is.EqualTo(parameters));
            Assert.That(GenerationParameters.Parse(negative.ToString()), Is.EqualTo(negative));
            Assert.That(GenerationParameters.Parse(few.ToString()), Is.EqualTo(few));
        });
    }

    [TestCase("plain")]
    [TestCase("")]
    [TestCase(" padded ")]
    [TestCase("a, b: c\nd")]
    [TestCase("\"quoted\"")]
    [TestCase("\"half")]
    [TestCase("in \"the\" middle")]
    [TestCase("back\\slash, \u732B\U0001F431")]
    public void ToStringThenParse_AnyValue_IsTheSame(string value)
    {
        GenerationParameters parameters = Sample with { Model = value, Sampler = value, Other = [new("Some key", value), new("Key-2/b", value)] };
        Assert.That(GenerationParameters.Parse(parameters.ToString()), Is.EqualTo(parameters));
    }

    [TestCase(0.1)]
    [TestCase(1e-7)]
    [TestCase(7.123456789012345)]
    [TestCase(-1)]
    public void ToStringThenParse_AnyScale_IsTheSame(double scale)
        => Assert.That(GenerationParameters.Parse((Sample with { CfgScale = scale, Seed = ulong.MaxValue }).ToString()), Is.EqualTo(Sample with { CfgScale = scale, Seed = ulong.MaxValue }));

    [TestCase("just a prompt", "just a prompt")]
    [TestCase("a prompt: with, two: colons", "a prompt: with, two: colons")]
    [TestCase("", "")]
    [TestCase("   \n ", "")]
    public void Parse_NoLineOfSettings_IsAPrompt(string text, string prompt)
    {
        GenerationParameters parameters = GenerationParameters.Parse(text);
        Assert.That((parameters.Prompt, parameters.Steps, parameters.Version), Is.EqualTo((prompt, (int?)null, (string?)null)));
    }

    [Test]
    public void Parse_SettingsOfTheWrongType_StayAsTheyAre()
    {
        GenerationParameters parameters = GenerationParameters.Parse("p\nSteps: many, Seed: -1, Size: big, CFG scale: x, Model: \"unclosed, Tail: 1, 9, : nothing, A: too short");
        Assert.Multiple(() =>
        {
            Assert.That(parameters.Steps, Is.Null);
            Assert.That(parameters.Model, Is.EqualTo("\"unclosed"));
            Assert.That(parameters.Other.Select(p => p.Key), Is.EqualTo(new[] { "Steps", "Seed", "Size", "CFG scale", "Tail" }));
        });
    }

    [Test]
    public void SaveThenLoad_Png_HasTheParameters()
    {
        foreach (string prompt in new[] { "caf\u00E9", "\u732B, \"\U0001F431\"\nNegative prompt: no" })
        {
            using RgbImage image = PngFiles.Picture(2, 2);
            GenerationParameters parameters = Sample with { Prompt = prompt };
            Assert.That(GenerationParameters.From(PngText.Decode(image.Encode(parameters))), Is.EqualTo(parameters));
            Assert.That(GenerationParameters.From(PngText.Decode(image.Encode())), Is.Null);
        }
    }
}
