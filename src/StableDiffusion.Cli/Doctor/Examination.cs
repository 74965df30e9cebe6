using System.Collections;
using System.Runtime.InteropServices;
using StableDiffusion.Native;
using StableDiffusion.Pipelines;

namespace StableDiffusion.Cli.Doctor;

/// <summary>Looks at everything a picture needs. Whatever is missing becomes a fact and, where it matters, a problem; nothing throws.</summary>
internal static class Examination
{
    private static readonly string[] InstructionSets = ["cpu:portable", "cpu:avx2", "cpu:avx512", "cpu:avx512bf16"];

    internal static Diagnosis Run()
    {
        var diagnosis = new Diagnosis();
        LookAtVersions(diagnosis);
        bool library = LookAtLibrary(diagnosis);
        bool usable = library && LookAtCpu(diagnosis);
        if (library)
        {
            LookAtCuda(diagnosis);
        }
        LookAtMemory(diagnosis);
        LookAtEnvironment(diagnosis);
        LookAtDemoModel(diagnosis, draw: usable);
        return diagnosis;
    }

    private static void LookAtVersions(Diagnosis diagnosis)
    {
        const string Heading = "Program";
        diagnosis.Fact(Heading, "version", CommandLineApp.Version);
        diagnosis.Fact(Heading, "framework", $"{RuntimeInformation.FrameworkDescription}, {RuntimeInformation.RuntimeIdentifier}");
        diagnosis.Fact(Heading, "system", $"{RuntimeInformation.OSDescription}, {RuntimeInformation.OSArchitecture}");
        diagnosis.Fact(Heading, "folder", AppContext.BaseDirectory);
    }

    private static bool LookAtLibrary(Diagnosis diagnosis)
    {
        const string Heading = "Native library";
        try
        {
            diagnosis.Fact(Heading, "path", NativeLibraryLocator.Path);
            diagnosis.Fact(Heading, "build", NativeLibraryLocator.BuildInfo);
            return true;
        }
        catch (Exception failure)
        {
            diagnosis.Fact(Heading, "path", "none");
            diagnosis.Problem(failure.Message);
            return false;
        }
    }

    private static bool LookAtCpu(Diagnosis diagnosis)
    {
        const string Heading = "CPU";
        bool usable = false;
        try
        {
            using Device cpu = Device.Open("cpu");
            DeviceInfo info = cpu.Info;
            diagnosis.Fact(Heading, "name", info.Name);
            using Device auto = Device.Open("auto");
            diagnosis.Fact(Heading, "device auto", Failures.Clean(auto.Reason ?? auto.Spec));
            diagnosis.Fact(Heading, "device cpu", $"{info.InstructionSet}, {info.Threads} threads, {cpu.MeasurePeakGflops(0.1):0} GFLOP/s at most (float32)");
            using Device fast = Device.Open("cpu", 0, Precision.Fast);
            diagnosis.Fact(Heading, "dtype auto", $"{DTypeNames.Name(new LoadOptions().DTypeFor(cpu))}; with --precision fast {OfFast(fast)}");
            usable = true;
        }
        catch (Exception failure)
        {
            string text = Failures.TextOf(failure);
            diagnosis.Fact(Heading, "device cpu", text);
            diagnosis.Problem($"The device 'cpu' cannot be used: {text}");
        }
        foreach (string name in InstructionSets)
        {
            diagnosis.Fact(Heading, name, Availability(name));
        }
        return usable;
    }

    private static string OfFast(Device fast) => DTypeNames.Name(new LoadOptions().DTypeFor(fast)) + (fast.Info.ProductDType is var product and not DType.Float32
        ? $", multiplied as such, {fast.MeasurePeakGflops(0.1, product):0} GFLOP/s at most"
        : " too: products in 16 bits are not faster here");

    private static string Availability(string device)
    {
        try
        {
            Device.Open(device).Dispose();
            return "available";
        }
        catch (Exception failure)
        {
            return $"not available: {Failures.TextOf(failure)}";
        }
    }

    private static void LookAtCuda(Diagnosis diagnosis)
    {
        const string Heading = "CUDA";
        diagnosis.Fact(Heading, "kernels", NativeLibraryLocator.BuildInfo.Split("; ").LastOrDefault(part => part.Contains("CUDA", StringComparison.Ordinal)) ?? "not said");
        try
        {
            (int count, string? reason) = Device.Count(DeviceKind.Cuda);
            if (count == 0)
            {
                diagnosis.Fact(Heading, "devices", $"none: {Failures.Clean(reason ?? "no reason was given")}");
            }
            for (int i = 0; i < count; i++)
            {
                LookAtCudaDevice(diagnosis, Heading, $"cuda:{i}");
            }
        }
        catch (Exception failure)
        {
            diagnosis.Fact(Heading, "devices", $"none: {Failures.TextOf(failure)}");
        }
    }

    private static void LookAtCudaDevice(Diagnosis diagnosis, string heading, string name)
    {
        try
        {
            using Device device = Device.Open(name);
            DeviceInfo info = device.Info;
            diagnosis.Fact(heading, name, Units.Text(
                $"{info.Name}, {info.InstructionSet}, {info.Multiprocessors} multiprocessors of {info.ThreadsPerMultiprocessor} threads, {Units.Bytes(info.FreeBytes)} of {Units.Bytes(info.TotalBytes)} free"));
        }
        catch (Exception failure)
        {
            diagnosis.Fact(heading, name, $"not available: {Failures.TextOf(failure)}");
        }
    }

    private static void LookAtMemory(Diagnosis diagnosis)
    {
        const string Heading = "Memory";
        try
        {
            using Device cpu = Device.Open("cpu");
            DeviceInfo info = cpu.Info;
            diagnosis.Fact(Heading, "free", $"{Units.Bytes(info.FreeBytes)} of {Units.Bytes(info.TotalBytes)} (the machine's, or this container's limit)");
        }
        catch (Exception)
        {
            // Without the native library the framework's view has to do.
            diagnosis.Fact(Heading, "total", Units.Bytes(GC.GetGCMemoryInfo().TotalAvailableMemoryBytes));
        }
        diagnosis.Fact(Heading, "processors", Units.Text($"{Environment.ProcessorCount}"));
    }

    private static void LookAtEnvironment(Diagnosis diagnosis)
    {
        const string Heading = "Environment";
        var variables = Environment.GetEnvironmentVariables().Cast<DictionaryEntry>()
            .Select(v => (Name: (string)v.Key, Value: (string?)v.Value ?? ""))
            .Where(v => v.Name.StartsWith("SDN_", StringComparison.Ordinal))
            .OrderBy(v => v.Name, StringComparer.Ordinal)
            .ToList();
        if (variables.Count == 0)
        {
            diagnosis.Fact(Heading, "SDN_*", "none set");
        }
        foreach ((string name, string value) in variables)
        {
            diagnosis.Fact(Heading, name, value);
        }
    }

    private static void LookAtDemoModel(Diagnosis diagnosis, bool draw)
    {
        const string Heading = "Demo model";
        string? found = null;
        foreach (string path in ModelFolder.Candidates(ModelFolder.BuiltIn))
        {
            diagnosis.Fact(Heading, path, found is not null ? "not needed" : Directory.Exists(path) ? "found" : "not there");
            found ??= Directory.Exists(path) ? path : null;
        }
        if (found is null)
        {
            diagnosis.Problem($"The demo model was not found: build the program again (it is copied beside it), or run it where there is a folder '{ModelFolder.BuiltIn}', or give another model with --model.");
        }
        else if (draw)
        {
            Draw(diagnosis, Heading, found);
        }
    }

    /// <summary>The proof: one step with everything in place.</summary>
    private static void Draw(Diagnosis diagnosis, string heading, string model)
    {
        try
        {
            using Device device = Device.Open("auto");
            using var pipeline = StableDiffusionPipeline.Load(model, device);
            using GenerationResult result = pipeline.Generate(new GenerationRequest("a red circle") { Steps = 1, Seed = 0 });
            diagnosis.Fact(heading, "one step", $"drawn in {Units.Seconds(result.Elapsed.TotalSeconds)}");
        }
        catch (Exception failure)
        {
            string text = Failures.TextOf(failure);
            diagnosis.Fact(heading, "one step", text);
            diagnosis.Problem($"The demo model cannot be drawn with: {text}");
        }
    }
}
