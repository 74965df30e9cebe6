namespace StableDiffusion.Random;

/// <summary>
/// What <c>torch.randn(device="cuda")</c> depends on besides the seed: how many threads the GPU keeps resident. PyTorch launches no
/// more, so in tensors of more elements (43,008 on an RTX 3060, 270,336 on an H200) the same seed gives other numbers on another GPU.
/// </summary>
/// <param name="Multiprocessors">Streaming multiprocessors, <c>multi_processor_count</c> of torch's device properties.</param>
/// <param name="ThreadsPerMultiprocessor">
/// Most resident threads of one, <c>max_threads_per_multi_processor</c>: 2048, 1536 or 1024, at least 256.
/// </param>
public sealed record TorchCudaGpu(int Multiprocessors, int ThreadsPerMultiprocessor)
{
    // Multiprocessors: the CUDA cores of NVIDIA's product pages over the architecture's cores per multiprocessor (64 in Volta, Turing
    // and GA100, else 128). Threads: "Maximum number of resident threads per SM" of the CUDA C++ Programming Guide.
    private static readonly (string Name, int Multiprocessors, int Threads)[] Known =
    [
        ("B200", 148, 2048), ("H200", 132, 2048), ("H100", 132, 2048), ("H100 SXM", 132, 2048), ("H100 PCIe", 114, 2048),
        ("A100", 108, 2048), ("V100", 80, 2048),
        ("L40S", 142, 1536), ("L40", 142, 1536), ("L4", 58, 1536), ("A40", 84, 1536), ("A10", 72, 1536), ("A10G", 80, 1536),
        ("T4", 40, 1024),
        ("RTX 6000 Ada", 142, 1536), ("RTX A6000", 84, 1536), ("RTX A5000", 64, 1536), ("RTX A4000", 48, 1536),
        ("RTX 5090", 170, 1536), ("RTX 5080", 84, 1536), ("RTX 5070 Ti", 70, 1536), ("RTX 5070", 48, 1536),
        ("RTX 4090", 128, 1536), ("RTX 4090 D", 114, 1536), ("RTX 4080 SUPER", 80, 1536), ("RTX 4080", 76, 1536),
        ("RTX 4070 Ti SUPER", 66, 1536), ("RTX 4070 Ti", 60, 1536), ("RTX 4070 SUPER", 56, 1536), ("RTX 4070", 46, 1536),
        ("RTX 4060 Ti", 34, 1536), ("RTX 4060", 24, 1536),
        ("RTX 3090 Ti", 84, 1536), ("RTX 3090", 82, 1536), ("RTX 3080 Ti", 80, 1536), ("RTX 3080", 68, 1536),
        ("RTX 3070 Ti", 48, 1536), ("RTX 3070", 46, 1536), ("RTX 3060 Ti", 38, 1536), ("RTX 3060", 28, 1536),
        ("TITAN RTX", 72, 1024), ("RTX 2080 Ti", 68, 1024), ("RTX 2080 SUPER", 48, 1024), ("RTX 2080", 46, 1024),
        ("RTX 2070 SUPER", 40, 1024), ("RTX 2070", 36, 1024), ("RTX 2060", 30, 1024),
    ];

    /// <summary>The names that <see cref="FromName"/> knows, such as "RTX 4090".</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Known.Select(gpu => gpu.Name)];

    /// <summary>Streaming multiprocessors; at least 1.</summary>
    public int Multiprocessors { get; } = Multiprocessors >= 1
        ? Multiprocessors
        : throw new ArgumentOutOfRangeException(nameof(Multiprocessors), Multiprocessors, "A GPU has at least 1 multiprocessor.");

    /// <summary>Most resident threads of a multiprocessor; at least 256, the threads of one of PyTorch's blocks.</summary>
    public int ThreadsPerMultiprocessor { get; } = ThreadsPerMultiprocessor >= TorchCudaGenerator.BlockThreads
        ? ThreadsPerMultiprocessor
        : throw new ArgumentOutOfRangeException(
            nameof(ThreadsPerMultiprocessor),
            ThreadsPerMultiprocessor,
            $"A multiprocessor has at least {TorchCudaGenerator.BlockThreads} resident threads; GPUs have 1024, 1536 or 2048.");

    /// <summary>Threads that PyTorch's random kernels launch at most.</summary>
    public long ResidentThreads =>
        (long)Multiprocessors * (ThreadsPerMultiprocessor / TorchCudaGenerator.BlockThreads) * TorchCudaGenerator.BlockThreads;

    /// <summary>
    /// A GPU by its name, as NVIDIA's drivers give it or shorter: "NVIDIA GeForce RTX 4090", "rtx 4090", "H100 PCIe". Memory sizes and
    /// board forms that follow do not matter ("NVIDIA A100-SXM4-80GB").
    /// </summary>
    /// <exception cref="ArgumentException">No such GPU is known; the text lists those that are.</exception>
    public static TorchCudaGpu FromName(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        string[] words = Words(name);
        var best = Known
            .Where(gpu => StartsWith(words, Words(gpu.Name)))
            .OrderByDescending(gpu => gpu.Name.Length)
            .FirstOrDefault();
        return best.Name is not null
            ? new TorchCudaGpu(best.Multiprocessors, best.Threads)
            : throw new ArgumentException(
                $"\"{name}\" is not a known GPU; give its multiprocessors and their threads, or one of: {string.Join(", ", Names)}.",
                nameof(name));
    }

    private static string[] Words(string name) =>
    [
        .. name.Split([' ', '-'], StringSplitOptions.RemoveEmptyEntries)
            .Select(word => word.ToUpperInvariant())
            .Where(word => word is not ("NVIDIA" or "GEFORCE" or "TESLA" or "QUADRO"))
            .Select(word => word.StartsWith("SXM", StringComparison.Ordinal) ? "SXM" : word),
    ];

    private static bool StartsWith(string[] words, string[] beginning) => words.AsSpan().StartsWith(beginning);
}
