using System.CommandLine;
using System.CommandLine.Parsing;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;
using StableDiffusion.Schedulers;

namespace StableDiffusion.Cli.Generate;

/// <summary>The options of <c>generate</c>: each with its unit, range and default in its description.</summary>
internal sealed class GenerateOptions
{
    internal Argument<string[]> Prompts { get; } = new("PROMPT")
    {
        Description = "What to draw; several draw several pictures. An empty text (\"\") draws without guidance by words. One that begins with a dash goes after \"--\".",
        Arity = ArgumentArity.OneOrMore,
    };

    internal Option<string> Model { get; } = OptionFactory.TextWithDefault("--model", "PATH",
        "Model: a folder in the diffusers layout (model_index.json, unet/, vae/, text_encoder/, ...) or a single file (.safetensors, .ckpt). The default draws coloured shapes and comes with the program.", ModelFolder.BuiltIn, "-m");

    internal Option<string?> Vae { get; } = OptionFactory.Text("--vae", "PATH", "VAE to take instead of the model's own: a folder of diffusers or a file. [default: the model's]");

    internal Option<PredictionType?> Prediction { get; } = OptionFactory.Parsed<PredictionType?>("--prediction", "TYPE",
        "What the model predicts, where its files say the wrong thing: epsilon or v_prediction. [default: what they say; of a single file, what its UNet answers]",
        TryParsePrediction, "is not epsilon or v_prediction");

    internal Option<string> Output { get; } = OptionFactory.TextWithDefault("--output", "FILE",
        "Where to write: a .png file, a folder, or a pattern with {seed}, {index} and {prompt}, as in pictures/{prompt}-{seed}.png. Several pictures that would get one name are numbered -0001, -0002, ... Missing folders are made, existing files replaced.",
        OutputPattern.Default, "-o");

    internal Option<string[]> Negative { get; } = OptionFactory.Texts("--negative", "TEXT",
        "What not to draw: once for all prompts, or once per prompt in their order. Needs a guidance scale above 1.", "-n", "--negative-prompt");

    internal Option<int> Steps { get; } = OptionFactory.Int("--steps", "N", "Denoise steps, 1 to 1000. More take longer; 20 to 50 are usual.", 25, 1, 1000, "-s");

    internal Option<double?> Guidance { get; } = OptionFactory.Double("--guidance-scale", "X",
        "How strongly to follow the prompt; 1 or less switches guidance off and halves the work. [default: 7.5, SDXL without a mask 5, LCM 8.5]", null, "-g", "--guidance");

    internal Option<string[]> Seed { get; } = OptionFactory.Texts("--seed", "SEED",
        "Seed of the noise; the same seed draws the same picture. Several (--seed 1,2,3) draw one picture each; -1 is a random one. [default: -1]");

    internal Option<NoiseChoice?> Rng { get; } = OptionFactory.Parsed<NoiseChoice?>("--rng", "NAME",
        "Whose noise a seed stands for: cpu, as PyTorch draws on a CPU; cuda, as on this machine's GPU (without one, an RTX 4090's); or a GPU's name, such as \"RTX 3060\". The difference between GPUs shows in large pictures only. [default: cpu]",
        NoiseChoice.TryParse, "is no known generator: there are cpu, cuda, and names of GPUs such as 'RTX 4090', 'RTX 3060', 'A100', 'H100', 'H200', 'T4'");

    internal Option<int> Count { get; } = OptionFactory.Int("--count", "N",
        "Pictures per prompt. Picture i = 0, 1, ... has the seed SEED + i, and that seed alone draws it again.", 1, 1, 100_000, "-c");

    internal Option<(int Width, int Height)?> Size { get; } = OptionFactory.Parsed<(int, int)?>("--size", "WxH",
        "Width and height in pixels, as 768x512, or 512 for a square.", TryParseSize, "is not a size; give WIDTHxHEIGHT in pixels, such as 768x512");

    internal Option<int?> Width { get; } = OptionFactory.OptionalInt("--width", "PIXELS", "Width, a multiple of 8. [default: that of the --image, else what the model was trained at]", 1, "-W");

    internal Option<int?> Height { get; } = OptionFactory.OptionalInt("--height", "PIXELS", "Height, a multiple of 8. [default: that of the --image, else what the model was trained at]", 1, "-H");

    internal Option<string?> Scheduler { get; } = OptionFactory.Text("--scheduler", "NAME", "The way from noise to picture: one of the names below. [default: the model's own]");

    /// <summary>Timesteps or noise levels of one's own.</summary>
    internal ScheduleOptions Schedule { get; } = new();

    internal Option<double?> Eta { get; } = OptionFactory.Double("--eta", "X", "DDIM: share of fresh noise per step, 0 to 1. [default: 0]", (0, 1));

    internal Option<double?> GuidanceRescale { get; } = OptionFactory.Double("--guidance-rescale", "X", "Against too much contrast at high guidance, 0 to 1. [default: 0]", (0, 1));

    internal Option<int> ClipSkip { get; } = OptionFactory.Int("--clip-skip", "N",
        "Last layers of the text encoder to leave out, as diffusers counts (one less than \"Clip skip\" in web UIs).", 0, 0, 100);

    internal Option<int> BatchSize { get; } = OptionFactory.Int("--batch-size", "N", "Pictures drawn at the same time; more take more memory. Does not change the pictures.", 1, 1, 1000, "-b");

    internal Option<string?> Latents { get; } = OptionFactory.Text("--latents", "FILE",
        "Start from the tensor 'latents' [N,4,H/8,W/8] of a .safetensors file, one entry per picture, instead of from drawn noise.");

    internal Option<string?> SaveLatents { get; } = OptionFactory.Text("--save-latents", "FILE", "Also write the final latents as 'latents' [N,4,H/8,W/8] to a .safetensors file.");

    internal Option<string> Device { get; } = OptionFactory.TextWithDefault("--device", "NAME",
        "auto, cpu, cpu:portable, cpu:avx2, cpu:avx512, cpu:avx512bf16, cuda or cuda:N; 'doctor' lists what this machine has.", "auto", "-d");

    internal Option<int> Threads { get; } = OptionFactory.Int("--threads", "N", "CPU threads; 0 takes one per core. Does not change the pictures.", 0, 0, 4096, "-t");

    internal Option<DTypeChoice?> DType { get; } = OptionFactory.Parsed<DTypeChoice?>("--dtype", "TYPE",
        "How weights are kept in memory, and on CUDA computed with: auto, fp32, fp16 or bf16, of which the last two take half the memory; or int8, the UNet in bytes, on CPUs with VNNI: a quarter, and faster, but not the same picture. [default: auto, which is fp32 on the CPU, or bf16 or fp16 with --precision fast where that is faster, and fp16 on CUDA; 'doctor' tells]",
        DTypeNames.TryParse, DTypeNames.Complaint);

    internal Option<Precision> Precision { get; } = OptionFactory.PrecisionOption();

    internal Option<bool> VaeTiling { get; } = OptionFactory.Flag("--vae-tiling",
        "Decode in overlapping tiles of 512 pixels, which takes less memory. Without it, only where the decoder does not fit in one piece.");

    internal Option<long?> MemoryLimit { get; } = OptionFactory.Parsed<long?>("--memory-limit", "BYTES",
        "Memory that weights and work together may take, as 4G or 800M; more is refused before the start. [default: what is free]", Units.TryParseBytes,
        "is not an amount of memory; give bytes, or such as 4G or 800M");

    internal Option<bool> Json { get; } = OptionFactory.Flag("--json", "Print one JSON object per line on stdout: \"start\", \"progress\" and \"image\" events and the \"result\".");

    internal Option<bool> Quiet { get; } = OptionFactory.Flag("--quiet", "Print nothing but warnings and errors.", "-q");

    internal Option<string[]> Prompt2 { get; } = OptionFactory.Texts("--prompt-2", "TEXT", "SDXL: text for the second text encoder, once per prompt. [default: the prompt]");

    internal Option<string[]> Negative2 { get; } = OptionFactory.Texts("--negative-2", "TEXT", "SDXL: --negative for the second text encoder. [default: the same]");

    /// <summary>Pictures to start from.</summary>
    internal PictureOptions Pictures { get; } = new();

    /// <summary>Variations, a second pass, a refiner.</summary>
    internal PassOptions Passes { get; } = new();

    /// <summary>Looking at a picture while it is drawn.</summary>
    internal PreviewOptions Previews { get; } = new();

    /// <summary>SDXL's sizes and crop corners.</summary>
    internal SdxlOptions Sdxl { get; } = new();

    /// <summary>Adds them all, in the order the help shows them.</summary>
    internal void AddTo(Command command)
    {
        command.Add(Prompts);
        Option[] options =
        [
            Model, Vae, Prediction, Output, Negative, Steps, Guidance, Seed, Rng, Count, Size, Width, Height, Scheduler, .. Schedule.All, Eta, GuidanceRescale, ClipSkip, BatchSize, Latents, SaveLatents,
            .. Pictures.All, .. Passes.All, .. Previews.All,
            Device, Threads, DType, Precision, VaeTiling, MemoryLimit, Json, Quiet, Prompt2, Negative2, .. Sdxl.All,
        ];
        foreach (Option option in options)
        {
            command.Add(option);
        }
    }

    /// <summary>The prompts; what looks like a misspelt option is refused, since it would be drawn.</summary>
    /// <exception cref="CliException">Names the likely option.</exception>
    internal IReadOnlyList<string> PromptsOf(ParseResult parsed)
    {
        IReadOnlyList<string> prompts = parsed.GetRequiredValue(Prompts);
        int afterDashes = parsed.Tokens.SkipWhile(t => t.Type != TokenType.DoubleDash).Count(t => t.Type == TokenType.Argument);
        foreach (string prompt in prompts.SkipLast(afterDashes))
        {
            if (prompt.Length > 1 && prompt[0] == '-' && !prompt.Any(char.IsWhiteSpace))
            {
                string name = prompt.Split('=')[0];
                string? near = parsed.CommandResult.Command.Options.SelectMany(o => o.Aliases.Prepend(o.Name)).MinBy(alias => EditDistance.Between(alias, name));
                string hint = EditDistance.Between(near!, name) <= 3 ? $"did you mean {near}? " : "";
                throw CliException.Usage($"'{prompt}': there is no such option; {hint}A prompt that begins with a dash goes after \"--\"");
            }
        }
        return prompts;
    }

    private static bool TryParsePrediction(string text, out PredictionType? prediction)
    {
        prediction = text.ToLowerInvariant() switch
        {
            "epsilon" => PredictionType.Epsilon,
            "v_prediction" or "v-prediction" or "v" => PredictionType.VPrediction,
            _ => null,
        };
        return prediction is not null;
    }

    private static bool TryParseSize(string text, out (int Width, int Height)? size)
    {
        bool valid = Units.TryParseSize(text, out int width, out int height) && width > 0 && height > 0;
        size = valid ? (width, height) : null;
        return valid;
    }
}
