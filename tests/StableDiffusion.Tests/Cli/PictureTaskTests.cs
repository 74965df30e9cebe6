using System.Text.Json.Nodes;
using StableDiffusion.Cli;
using StableDiffusion.Imaging;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Cli;

/// <summary><c>generate</c> with pictures to start from and with more than one plain pass, with the demo model at small sizes and few steps.</summary>
public class PictureTaskTests
{
    const string Prompt = "a red circle on a blue background";
    private TemporaryFolder _folder = null!;
    private string _source = "";

    [SetUp]
    public void MakeSource()
    {
        _folder = new TemporaryFolder();
        _source = _folder["source.png"];
        Generate(Prompt, "--size", "32", "--steps", "8", "-o", _source).AssertOk();
    }

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    static CliRun Generate(params string[] args) => CliRunner.Run(["generate", .. args, "--seed", "1024", "--model", CliRunner.DemoModel]);

    RgbImage Draw(params string[] args)
    {
        string file = _folder["out.png"];
        Generate([.. args, "--steps", "8", "-o", file]).AssertOk();
        return RgbImage.Load(file);
    }

    string Inspect() => CliRunner.Run("inspect", _folder["out.png"]).Out;

    /// <summary>Black with white columns.</summary>
    string Mask(int width, int height, int firstWhite, int lastWhite)
    {
        byte[] pixels = new byte[width * height * 3];
        for (int i = 0; i < pixels.Length; i++)
        {
            pixels[i] = (byte)(i / 3 % width >= firstWhite && i / 3 % width <= lastWhite ? 255 : 0);
        }
        string file = _folder["mask.png"];
        new RgbImage(width, height, pixels).Save(file);
        return file;
    }

    /// <summary>Mean difference of two pictures of one size in some columns, of 255.</summary>
    static double Difference(RgbImage a, RgbImage b, int firstColumn = 0, int lastColumn = int.MaxValue)
    {
        double sum = 0;
        int count = 0;
        for (int i = 0; i < a.Pixels.Length; i++)
        {
            int column = i / 3 % a.Width;
            if (column >= firstColumn && column <= lastColumn)
            {
                sum += Math.Abs(a.Pixels[i] - b.Pixels[i]);
                count++;
            }
        }
        return sum / count;
    }

    [Test]
    public void Generate_ImageAndStrength_ChangesItThatMuch()
    {
        using RgbImage source = RgbImage.Load(_source);
        using RgbImage little = Draw("a green star on a white background", "--image", _source, "--strength", "0.25");
        Assert.That(Inspect(), Does.Contain("denoising strength").And.Contain("0.25"));
        using RgbImage much = Draw("a green star on a white background", "-i", _source, "--strength", "0.9");
        Assert.That(Difference(little, source), Is.LessThan(Difference(much, source) / 2));
        Assert.That((little.Width, little.Height), Is.EqualTo((32, 32)));
    }

    [TestCase(new string[0], 40, 24, TestName = "{m}(OwnSizeRoundedDown)")]
    [TestCase(new[] { "--size", "32x48" }, 32, 48, TestName = "{m}(Stretched)")]
    [TestCase(new[] { "--width", "32" }, 32, 24, TestName = "{m}(OneSide)")]
    public void Generate_ImageOfAnotherSize_IsResized(string[] size, int width, int height)
    {
        using RgbImage odd = RgbImage.Load(_source).Resize(45, 31);
        odd.Save(_folder["odd.png"]);
        string file = _folder["out.png"];
        CliRun run = Generate([Prompt, "--image", _folder["odd.png"], "--steps", "2", "--json", "-o", file, .. size]);
        run.AssertOk();
        using RgbImage drawn = RgbImage.Load(file);
        Assert.That((drawn.Width, drawn.Height), Is.EqualTo((width, height)));
        Assert.That((run.JsonLines[0].GetProperty("width").GetInt32(), run.JsonLines[0].GetProperty("height").GetInt32()), Is.EqualTo((width, height)));
    }

    [Test]
    public void Generate_ResizeModes_AreThreePictures()
    {
        RgbImage[] drawn = [.. new[] { "stretch", "crop", "fill" }.Select(mode => Draw(Prompt, "--image", _source, "--size", "48x32", "--strength", "0.25", "--resize-mode", mode))];
        Assert.That(Difference(drawn[0], drawn[1]), Is.Positive);
        Assert.That(Difference(drawn[0], drawn[2]), Is.Positive);
        Assert.That(Difference(drawn[1], drawn[2]), Is.Positive);
        Assert.That(Inspect(), Does.Contain("Resize and fill"));
    }

    [Test]
    public void Generate_JpegImage_IsTaken()
    {
        if (TurboJpeg.Shared is null)
        {
            Assert.Ignore("libjpeg-turbo is not installed (libturbojpeg0).");
        }
        using RgbImage drawn = Draw(Prompt, "--image", Fixtures.PathOf("images", "jpeg", "progressive.jpg"));
        Assert.That((drawn.Width, drawn.Height), Is.EqualTo((40, 24)));
    }

    [Test]
    public void Generate_Mask_ChangesWhatIsWhite()
    {
        using RgbImage source = RgbImage.Load(_source);
        using RgbImage drawn = Draw("a green star on a white background", "--image", _source, "--mask", Mask(32, 32, 16, 31));
        // The VAE's convolutions carry a little over the edge, and its round trip is not exact.
        Assert.That(Difference(drawn, source, 0, 7), Is.LessThan(Difference(drawn, source, 16, 31) / 3));
    }

    [Test]
    public void Generate_Outpaint_ExtendsThePicture()
    {
        using RgbImage source = RgbImage.Load(_source);
        using RgbImage drawn = Draw(Prompt, "--image", _source, "--outpaint", "0,0,16,8");
        Assert.That((drawn.Width, drawn.Height), Is.EqualTo((48, 40)));
        Assert.That(Difference(drawn.Crop(0, 0, 24, 24), source.Crop(0, 0, 24, 24)), Is.LessThan(25));
        Assert.That(Inspect(), Does.Contain("outpaint").And.Contain("0 0 16 8"));
    }

    [Test]
    public void Generate_Variation_StaysNearTheSeedAndCountsTheVariationSeed()
    {
        string[] size = [Prompt, "--size", "32"];
        using RgbImage plain = Draw(size);
        using RgbImage none = Draw([.. size, "--variation-strength", "0", "--variation-seed", "5"]);
        Tolerances.AssertEqual(none.Pixels, plain.Pixels, [32, 32, 3], "strength 0 is the seed's own picture");
        using RgbImage some = Draw([.. size, "--variation-strength", "0.1", "--variation-seed", "6"]);
        Assert.That(Difference(some, plain), Is.Positive);
        Assert.That(Inspect(), Does.Contain("variation seed").And.Contain("variation seed strength"));
        CliRun run = Generate([.. size, "--steps", "8", "--variation-strength", "0.1", "--variation-seed", "5", "--count", "2", "-o", _folder["v-{index}.png"], "--json"]);
        run.AssertOk();
        Assert.That(run.JsonLines.Where(line => line.GetProperty("event").GetString() == "image").Select(line => line.GetProperty("seed").GetInt32()), Is.EqualTo(new[] { 1024, 1024 }));
        using RgbImage second = RgbImage.Load(run.JsonLines[^1].GetProperty("files")[1].GetString()!);
        Tolerances.AssertEqual(second.Pixels, some.Pixels, [32, 32, 3], "the second of two is that of the next variation seed");
    }

    [Test]
    public void Generate_Hires_DrawsTheLargerSize()
    {
        using RgbImage drawn = Draw(Prompt, "--size", "32", "--hires", "1.5", "--hires-strength", "0.5", "--hires-steps", "6");
        Assert.That((drawn.Width, drawn.Height), Is.EqualTo((48, 48)));
        Assert.That(Inspect(), Does.Contain("hires upscale").And.Contain("1.5").And.Contain("hires steps").And.Contain("denoising strength"));
    }

    [Test]
    public void Generate_GuidanceInterval_ChangesThePicture()
    {
        using RgbImage all = Draw(Prompt, "--size", "32");
        using RgbImage part = Draw(Prompt, "--size", "32", "--guidance-interval", "0.2-0.6");
        Assert.That(Difference(all, part), Is.Positive);
        Assert.That(Inspect(), Does.Contain("0.2-0.6"));
    }

    [Test]
    public void Generate_Preview_WritesWhatThePictureWouldBe()
    {
        string preview = _folder["preview.png"];
        using RgbImage plain = Draw(Prompt, "--size", "32");
        using RgbImage drawn = Draw(Prompt, "--size", "32", "--preview", preview, "--preview-every", "3");
        Tolerances.AssertEqual(drawn.Pixels, plain.Pixels, [32, 32, 3], "looking does not change the picture");
        using RgbImage approximate = RgbImage.Load(preview);
        Assert.That((approximate.Width, approximate.Height), Is.EqualTo((32, 32)));
        Draw(Prompt, "--size", "32", "--preview", preview, "--preview-vae", Fixtures.PathOf("taesd", "model")).Dispose();
        using RgbImage decoded = RgbImage.Load(preview);
        Assert.That(Difference(decoded, approximate), Is.Positive);
    }

    [Test]
    public void Generate_Refiner_DrawsTheRestAndIsNamedInThePng()
    {
        string refiner = MakeRefiner();
        string[] args = ["generate", "a cat", "--seed", "1", "--steps", "10", "--size", "32", "--model", Fixtures.PathOf("models", "sdxl"), "-o", _folder["out.png"]];
        CliRunner.Run(args).AssertOk();
        using RgbImage alone = RgbImage.Load(_folder["out.png"]);
        CliRunner.Run([.. args, "--refiner", refiner, "--refiner-start", "0.6", "--aesthetic-score", "8"]).AssertOk();
        Assert.That(Inspect(), Does.Contain("refiner").And.Contain("refiner switch at").And.Contain("0.6"));
        using RgbImage refined = RgbImage.Load(_folder["out.png"]);
        Assert.That(Difference(refined, alone), Is.Positive);
        CliRunner.Run([.. args, "--refiner", refiner, "--refiner-start", "0.6", "--aesthetic-score", "2", "--negative-aesthetic-score", "7"]).AssertOk();
        using RgbImage other = RgbImage.Load(_folder["out.png"]);
        Assert.That(Difference(refined, other), Is.Positive, "the scores reach the refiner");
    }

    /// <summary>The fixtures' SDXL with the fixtures' refiner UNet, without the first text encoder.</summary>
    string MakeRefiner()
    {
        string folder = Directory.CreateDirectory(_folder["refiner"]).FullName;
        foreach (string part in new[] { "scheduler", "text_encoder_2", "tokenizer_2", "vae" })
        {
            Directory.CreateDirectory(Path.Combine(folder, part));
            foreach (string file in Directory.EnumerateFiles(Fixtures.PathOf("models", "sdxl", part)))
            {
                File.Copy(file, Path.Combine(folder, part, Path.GetFileName(file)));
            }
        }
        JsonNode patch = JsonNode.Parse(File.ReadAllText(Fixtures.PathOf("models", "patches", "sdxl_refiner.json")))!;
        Directory.CreateDirectory(Path.Combine(folder, "unet"));
        File.WriteAllText(Path.Combine(folder, "unet", "config.json"), patch["unet"]!.ToJsonString());
        File.Copy(Fixtures.PathOf("models", "patches", "sdxl_refiner.safetensors"), Path.Combine(folder, "unet", "diffusion_pytorch_model.safetensors"));
        JsonNode index = JsonNode.Parse(File.ReadAllText(Fixtures.PathOf("models", "sdxl", "model_index.json")))!;
        foreach ((string key, JsonNode? value) in patch["model_index"]!.AsObject())
        {
            index[key] = value?.DeepClone();
        }
        foreach (string part in new[] { "text_encoder", "tokenizer" })
        {
            index[part] = new JsonArray(null, null);
        }
        File.WriteAllText(Path.Combine(folder, "model_index.json"), index.ToJsonString());
        return folder;
    }

    [Test]
    public void Generate_Prediction_IsTaken()
    {
        using RgbImage plain = Draw(Prompt, "--size", "32");
        using RgbImage same = Draw(Prompt, "--size", "32", "--prediction", "epsilon");
        Tolerances.AssertEqual(same.Pixels, plain.Pixels, [32, 32, 3], "the demo model predicts the noise");
        using RgbImage other = Draw(Prompt, "--size", "32", "--prediction", "v_prediction");
        Assert.That(Difference(other, plain), Is.Positive);
    }

    static IEnumerable<TestCaseData> BadArguments()
    {
        (string Name, string[] Args, string[] Words)[] cases =
        [
            ("MaskWithoutImage", ["--mask", "MASK32"], ["--mask", "--image"]),
            ("StrengthWithoutImage", ["--strength", "0.5"], ["--strength", "--image"]),
            ("DepthWithoutImage", ["--depth", "MASK32"], ["--depth", "--image"]),
            ("OutpaintWithoutImage", ["--outpaint", "8,0,0,0"], ["--outpaint", "--image"]),
            ("ResizeModeWithoutImage", ["--resize-mode", "crop"], ["--resize-mode", "--image"]),
            ("ImageGuidanceWithoutImage", ["--image-guidance-scale", "2"], ["--image-guidance-scale", "--image"]),
            ("StrengthAboveOne", ["--image", "SOURCE", "--strength", "1.5"], ["--strength", "'1.5'", "from 0 to 1"]),
            ("StrengthNegative", ["--image", "SOURCE", "--strength", "-0.1"], ["--strength", "from 0 to 1"]),
            ("MaskOfAnotherSize", ["--image", "SOURCE", "--mask", "MASK24"], ["--mask", "24x32", "32x32", "size"]),
            ("MaskWithOutpaint", ["--image", "SOURCE", "--mask", "MASK32", "--outpaint", "8,0,0,0"], ["--outpaint", "--mask"]),
            ("OutpaintOfNothing", ["--image", "SOURCE", "--outpaint", "0,0,0,0"], ["--outpaint", "'0,0,0,0'", "0,0,64,0"]),
            ("OutpaintOfThree", ["--image", "SOURCE", "--outpaint", "1,2,3"], ["--outpaint", "four"]),
            ("ResizeModeUnknown", ["--image", "SOURCE", "--resize-mode", "squeeze"], ["--resize-mode", "'squeeze'", "stretch, crop or fill"]),
            ("DepthWithAnotherModel", ["--image", "SOURCE", "--depth", "MASK32"], ["depth"]),
            ("ImageGuidanceWithAnotherModel", ["--image", "SOURCE", "--image-guidance-scale", "2"], ["image guidance scale"]),
            ("VariationSeedAlone", ["--variation-seed", "5"], ["--variation-seed", "--variation-strength"]),
            ("VariationStrengthAboveOne", ["--variation-strength", "2"], ["--variation-strength", "from 0 to 1"]),
            ("HiresStrengthAlone", ["--hires-strength", "0.5"], ["--hires-strength", "--hires"]),
            ("HiresScaleOne", ["--hires", "1"], ["--hires", "above 1"]),
            ("HiresWithMask", ["--image", "SOURCE", "--mask", "MASK32", "--hires", "2"], ["hires", "mask"]),
            ("GuidanceIntervalBackwards", ["--guidance-interval", "0.8-0.1"], ["--guidance-interval", "0.1-0.8"]),
            ("PredictionUnknown", ["--prediction", "x0"], ["--prediction", "'x0'", "epsilon or v_prediction"]),
            ("PreviewVaeAlone", ["--preview-vae", "x"], ["--preview-vae", "--preview"]),
            ("PreviewNoPng", ["--preview", "x.jpg"], ["--preview", "x.jpg", ".png"]),
            ("RefinerWithSd1", ["--refiner", "DEMO"], ["--refiner", "SDXL"]),
            ("RefinerStartAlone", ["--refiner-start", "0.8"], ["--refiner-start", "--refiner"]),
            ("RefinerStartZero", ["--refiner", "DEMO", "--refiner-start", "0"], ["--refiner-start", "above 0"]),
            ("RefinerWithHires", ["--refiner", "DEMO", "--hires", "2"], ["--hires", "--refiner"]),
            ("RefinerWithMask", ["--refiner", "DEMO", "--image", "SOURCE", "--mask", "MASK32"], ["--refiner", "--mask"]),
            ("AestheticScoreWithSd1", ["--aesthetic-score", "7"], ["--aesthetic-score", "SDXL"]),
        ];
        return cases.Select(c => new TestCaseData(c.Args, c.Words) { TestName = $"Generate_{c.Name}_IsOneLineAndNothingDrawn" });
    }

    [TestCaseSource(nameof(BadArguments))]
    public void Generate_BadArguments_IsOneLineAndNothingDrawn(string[] args, string[] words)
    {
        string[] real = [.. args.Select(arg => arg switch
        {
            "SOURCE" => _source,
            "MASK32" => Mask(32, 32, 0, 15),
            "MASK24" => Mask(24, 32, 0, 15),
            "DEMO" => CliRunner.DemoModel,
            _ => arg,
        })];
        Generate([Prompt, .. real, "--size", "32", "--steps", "4", "-o", _folder["out.png"]]).AssertError(ExitCode.Usage, words);
        Assert.That(File.Exists(_folder["out.png"]), Is.False);
    }

    [Test]
    public void Generate_ImageThatIsNone_IsRefusedByItsName()
    {
        File.WriteAllText(_folder["notes.txt"], "hello");
        Generate(Prompt, "--image", _folder["notes.txt"], "-o", _folder["out.png"]).AssertError(ExitCode.File, "notes.txt", "PNG and JPEG");
        Generate(Prompt, "--image", _folder["none.png"], "-o", _folder["out.png"]).AssertError(ExitCode.File, "none.png", "no such file");
    }
}
