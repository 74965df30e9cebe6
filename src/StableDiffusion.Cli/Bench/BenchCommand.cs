using System.CommandLine;
using StableDiffusion.Cli.Bench.Peers;
using StableDiffusion.Models;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;

namespace StableDiffusion.Cli.Bench;

/// <summary><c>bench</c>: times a real architecture with random weights, or a model.</summary>
internal sealed class BenchCommand : CliCommand
{
    private static readonly string Architectures = string.Join(", ", Architecture.All.Select(a => a.Name));

    private readonly Option<Architecture?> _arch = OptionFactory.Parsed<Architecture?>("--arch", "NAME", $"Architecture: {Architectures}. [default: sd15]",
        (string text, out Architecture? value) => (value = Architecture.All.FirstOrDefault(a => a.Name == text)) is not null, $"is not an architecture; there are {Architectures}");

    private readonly Option<string?> _model = OptionFactory.Text("--model", "PATH", "Load this model, a folder or file as 'generate' takes it, and time it in place of an architecture with random weights.", "-m");

    private readonly Option<(int Width, int Height)?> _size = OptionFactory.Parsed<(int, int)?>("--size", "PIXELS", "Size of the picture, as 512 or 768x512, sides multiples of 8. [default: what the model was trained at]",
        TryParseSize, "is not a size; give pixels, such as 512 or 768x512, in multiples of 8");

    private readonly Option<int> _batch = OptionFactory.Int("--batch", "N", "Pictures at a time; the UNet's batch is twice that, because of guidance.", 1, 1, 1000, "-b");

    private readonly Option<DTypeChoice?> _dtype = OptionFactory.Parsed<DTypeChoice?>("--dtype", "TYPE", "How weights are kept, and on CUDA computed with: auto, fp32, fp16, bf16, or on CPUs with VNNI int8 (the UNet). [default: auto, which is fp32 on the CPU, or bf16 or fp16 with --precision fast where that is faster, and on CUDA fp16 with a bf16 VAE]",
        DTypeNames.TryParse, DTypeNames.Complaint);

    private readonly Option<int> _threads = OptionFactory.Int("--threads", "N", "CPU threads; 0 takes one per core.", 0, 0, 4096, "-t");

    private readonly Option<string> _device = OptionFactory.TextWithDefault("--device", "NAME", "auto, cpu, cpu:portable, cpu:avx2, cpu:avx512, cpu:avx512bf16, cuda or cuda:N.", "auto", "-d");

    private readonly Option<Precision> _precision = OptionFactory.PrecisionOption();

    private readonly Option<int?> _repeat = OptionFactory.OptionalInt("--repeat", "N", "Runs per phase; the fastest counts, on CUDA (but for load) the mean of runs queued one behind the other. [default: 1, on CUDA 20]", 1, "-r");

    private readonly Option<string[]> _phase = OptionFactory.Texts("--phase", "NAME", $"Run only this phase (may be given several times): {string.Join(", ", BenchPhase.Names)}. [default: all; load only with --model]");

    private readonly Option<bool> _layers = OptionFactory.Flag("--layers", "Also show what each layer takes by itself, slowest first.");

    private readonly Option<int> _top = OptionFactory.Int("--top", "N", "How many layers to show per phase; 0 shows all.", 30, 0, int.MaxValue);

    private readonly Option<bool> _compare = OptionFactory.Flag("--compare", "Also time the same phases in the peers found on this machine: PyTorch, diffusers, stable-diffusion.cpp. CPU only.");

    private readonly Option<string> _python = OptionFactory.TextWithDefault("--python", "PATH", "With --compare: the Python that has torch, and maybe diffusers.", OperatingSystem.IsWindows() ? "python" : "python3");

    private readonly Option<string?> _cpp = OptionFactory.Text("--sd-cpp", "PATH", "With --compare: the program of stable-diffusion.cpp. [default: sd-cli or sd on the PATH]");

    private readonly Option<bool> _json = OptionFactory.Flag("--json", "Print exactly one JSON object.");

    private readonly Terminal _terminal;
    private readonly CancellationToken _cancellation;

    internal BenchCommand(Terminal terminal, CancellationToken cancellation) : base("bench", "Time a real architecture with random weights, without its checkpoint, or a model with its own.")
    {
        (_terminal, _cancellation) = (terminal, cancellation);
        foreach (Option option in new Option[] { _arch, _model, _size, _batch, _dtype, _threads, _device, _precision, _repeat, _phase, _layers, _top, _compare, _python, _cpp, _json })
        {
            Add(option);
        }
        SetAction(Run);
    }

    /// <inheritdoc />
    internal override string Notes => $$"""
        Phases:
          load          the model from its files to packed weights, ready for the first step; with --model only. A run right after another finds
                        the files in the system's cache
          text_encoder  two prompts (positive and negative) through the text encoder(s)
          unet_step     one guided step: one UNet call for both prompts, with what depends on prompts or timesteps alone
                        computed before, as 'generate' does
          vae_decode    the batch from latents to pixels, one picture after another, as 'generate' does

        The parts that the phases need are loaded together, as for 'generate', so the peak memory is that of a real picture.
        GFLOP/s counts 2 per multiply-add of the matrix work that is done, for a convolution those of its plain form: Winograd's algorithm does with fewer.
        The share is that of the peak measured on the same threads: of float32, or of what 16-bit weights are multiplied in: pairs of bfloat16, or float16.

        On CUDA the time is that between two events on the device, after a first run that does not count. The UNet step and the decoder are
        captured and replayed as graphs, as 'generate' replays the UNet; "op by op" is the time without.

        --compare gives PyTorch and diffusers the same architecture with random weights, at the same threads, size and batch, in fp32 and bf16 (or the
        --dtype given): the best of --repeat runs behind one that does not count. stable-diffusion.cpp draws two steps with the --model, and its own log
        tells the times. What is not found is a line that says how to add it.

        JSON:
          {"arch","size","batch","dtype","vae_dtype","precision","threads","device","peak_gflops","phases":[{"name","seconds","gflops","peak_share"}],
           "checkpoint_bytes","weights_bytes","work_bytes","peak_bytes"}; --layers adds "layers":[{"path","calls","seconds","gflops","peak_share"}]
          to a phase; --compare adds "peers":[{"program","dtype","seconds":{"unet_step",...},"note"}]; on CUDA a phase that was replayed as a graph has "eager_seconds", and peak_share is null where no peak is known

        Examples:
          {{CommandLineApp.Name}} bench --arch sd15 --size 512
          {{CommandLineApp.Name}} bench --phase unet_step --precision fast --compare
          {{CommandLineApp.Name}} bench --arch sdxl --size 1024 --phase vae_decode --layers --dtype bf16
          {{CommandLineApp.Name}} bench --model sd15.safetensors --phase load --repeat 3
        """;

    private int Run(ParseResult parsed)
    {
        string? model = parsed.GetValue(_model);
        if (model is not null && parsed.GetValue(_arch) is not null)
        {
            throw CliException.Usage("--arch names an architecture for random weights, and a --model brings its own: leave one of them out");
        }
        string[] phases = PhasesOf(parsed.GetValue(_phase) ?? [], model is not null);
        var options = new LoadOptions { WeightDType = parsed.GetValue(_dtype)?.DType };
        BenchCheckpoint? checkpoint = model is null ? null : new BenchCheckpoint(model, options);
        Architecture arch = checkpoint?.Describe() ?? parsed.GetValue(_arch) ?? Architecture.StableDiffusion15;
        (int Width, int Height) size = parsed.GetValue(_size) ?? SizeOf(arch);
        using Device device = Devices.Open(parsed.GetRequiredValue(_device), parsed.GetValue(_threads), parsed.GetValue(_precision));
        var settings = new BenchSettings(arch, size.Width, size.Height, parsed.GetValue(_batch), options.UnetDTypeFor(device), options.DTypeFor(device), options.DTypeFor(device, arch.Vae),
            phases, parsed.GetValue(_repeat) ?? (device.Kind == DeviceKind.Cuda ? 20 : 1), parsed.GetValue(_layers))
        {
            Checkpoint = checkpoint,
        };
        if (parsed.GetValue(_compare) && device.Kind == DeviceKind.Cuda)
        {
            throw CliException.Usage("--compare is for the processor: give --device cpu, or leave --compare out");
        }
        Action<string> say = parsed.GetValue(_json) ? _ => { } : _terminal.Err.WriteLine;
        if (!parsed.GetValue(_json))
        {
            string threads = device.Kind == DeviceKind.Cpu ? $", {device.Threads} threads, {device.Info.Precision.ToString().ToLowerInvariant()} precision" : "";
            _terminal.Err.WriteLine($"{arch.Title}, {size.Width}x{size.Height}, batch {settings.Batch}, {DTypeNames.Name(settings.DType)} on {device} ({device.Info.InstructionSet}{threads})");
        }
        BenchResult result = BenchRun.Run(settings, device, say, _cancellation);
        if (parsed.GetValue(_compare))
        {
            var choice = new PeerChoice(parsed.GetRequiredValue(_python), parsed.GetValue(_cpp), model, options.WeightDType is { } one ? [DTypeNames.Name(one)] : ["fp32", "bf16"]);
            result = result with
            {
                Peers = [.. TorchPeers.Measure(settings, choice, device.Threads, say, _cancellation), .. CppPeer.Measure(settings, choice, device.Threads, say, _cancellation)],
            };
        }
        if (parsed.GetValue(_json))
        {
            _terminal.Out.WriteLine(result.ToJson().ToJsonString(Json.Options));
        }
        else
        {
            result.Write(_terminal, parsed.GetValue(_top));
        }
        return ExitCode.Ok;
    }

    private static string[] PhasesOf(string[] names, bool loads)
    {
        string[] given = [.. names.SelectMany(n => n.Split(',', StringSplitOptions.TrimEntries))];
        if (given.FirstOrDefault(n => !BenchPhase.Names.Contains(n)) is { } unknown)
        {
            throw CliException.Usage($"--phase: '{unknown}' is not a phase; there are {string.Join(", ", BenchPhase.Names)}");
        }
        if (!loads && given.Contains(BenchPhase.Load))
        {
            throw CliException.Usage($"--phase {BenchPhase.Load} times the loading of a model's files: say which with --model");
        }
        return [.. BenchPhase.Names.Where(n => given.Length == 0 ? loads || n != BenchPhase.Load : given.Contains(n))];
    }

    /// <summary>What the UNet was trained at, in pixels.</summary>
    private static (int Width, int Height) SizeOf(Architecture arch) => arch.Unet.SampleSize is { } latents
        ? (latents.Width * arch.Vae.ScaleFactor, latents.Height * arch.Vae.ScaleFactor)
        : (arch.Vae.SampleSize, arch.Vae.SampleSize);

    private static bool TryParseSize(string text, out (int, int)? size)
    {
        bool valid = Units.TryParseSize(text, out int width, out int height) && width > 0 && height > 0 && width % 8 == 0 && height % 8 == 0;
        size = valid ? (width, height) : null;
        return valid;
    }
}
