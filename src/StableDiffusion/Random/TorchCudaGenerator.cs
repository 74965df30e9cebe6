namespace StableDiffusion.Random;

/// <summary>
/// PyTorch's CUDA generator: the numbers of <c>torch.Generator("cuda").manual_seed(seed)</c>, so that a seed gives the picture it gives
/// where noise is drawn on a GPU. Philox4x32-10 (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and
/// Box-Muller, in the order of aten/src/ATen/native/cuda/DistributionTemplates.h and cuRAND's device functions. The numbers are computed
/// on the CPU, the same on every machine; a GPU's own sines and cosines have an absolute error of up to 2^-21, so its numbers differ
/// from these by as much, times at most 6.7. Not thread-safe: a generator belongs to one generation.
/// </summary>
public sealed class TorchCudaGenerator : IGenerator
{
    /// <summary>Threads of a block of PyTorch's random kernels.</summary>
    internal const int BlockThreads = 256;

    // What a draw of one thread gives.
    private const int Lanes = 4;

    // cuRAND's constants: 2^-32, and that times 2 pi, as products of floats.
    private const float Unit = 2.3283064e-10f;
    private const float Angle = 2.3283064e-10f * 6.2831855f;

    /// <summary>Starts the stream of a seed.</summary>
    /// <param name="seed">All 64 bits count.</param>
    /// <param name="gpu">
    /// The GPU whose numbers are wanted. It matters from <see cref="TorchCudaGpu.ResidentThreads"/> elements on, so hardly ever for the
    /// latents of one picture.
    /// </param>
    /// <param name="offset">Numbers per thread drawn before, as torch's <c>get_offset</c>: a multiple of 4.</param>
    public TorchCudaGenerator(ulong seed, TorchCudaGpu gpu, ulong offset = 0)
    {
        ArgumentNullException.ThrowIfNull(gpu);
        if (offset % Lanes != 0)
        {
            throw new ArgumentOutOfRangeException(nameof(offset), offset, "The offset of a Philox generator is a multiple of 4.");
        }

        Seed = seed;
        Gpu = gpu;
        Offset = offset;
    }

    /// <summary>The seed that the stream was started with.</summary>
    public ulong Seed { get; }

    /// <summary>The GPU whose numbers these are.</summary>
    public TorchCudaGpu Gpu { get; }

    /// <summary>Numbers per thread drawn so far, as torch's <c>get_offset</c>.</summary>
    public ulong Offset { get; private set; }

    /// <summary>Standard normal numbers, as one <c>torch.randn</c> in float32 on the GPU.</summary>
    public void Normal(Span<float> destination)
    {
        if (destination.IsEmpty)
        {
            return;
        }

        long blocks = (destination.Length + BlockThreads - 1L) / BlockThreads;
        long threads = Math.Min(blocks * BlockThreads, Gpu.ResidentThreads);
        for (long first = 0; first < destination.Length; first += Lanes * threads)
        {
            // Thread t writes elements first + t, first + t + threads, and so on: one for each lane of its draw.
            for (long t = 0; t < threads && first + t < destination.Length; t++)
            {
                (float X, float Y, float Z, float W) = Draw((ulong)t);
                Store(destination, first + t, X);
                Store(destination, first + t + threads, Y);
                Store(destination, first + t + (2 * threads), Z);
                Store(destination, first + t + (3 * threads), W);
            }

            Offset += Lanes;
        }
    }

    private static void Store(Span<float> destination, long index, float value)
    {
        if (index < destination.Length)
        {
            destination[(int)index] = value;
        }
    }

    // Box-Muller as cuRAND has it: the sine first. Each function is computed in double and rounded once, as the machine's own float
    // functions may differ from another's in the last place.
    private static (float Sine, float Cosine) BoxMuller(uint x, uint y)
    {
        float uniform = MathF.FusedMultiplyAdd(x, Unit, Unit / 2);
        float angle = MathF.FusedMultiplyAdd(y, Angle, Angle / 2);
        float radius = MathF.Sqrt(-2f * (float)Math.Log(uniform));
        (double sine, double cosine) = Math.SinCos(angle);

        // torch computes normal * 1 + 0. The sum turns a minus zero into zero.
        return (((float)sine * radius) + 0f, ((float)cosine * radius) + 0f);
    }

    private (float X, float Y, float Z, float W) Draw(ulong subsequence)
    {
        ulong position = Offset / Lanes;
        uint c0 = (uint)position, c1 = (uint)(position >> 32), c2 = (uint)subsequence, c3 = (uint)(subsequence >> 32);
        uint k0 = (uint)Seed, k1 = (uint)(Seed >> 32);
        for (int round = 0; round < 10; round++)
        {
            ulong p0 = 0xD2511F53UL * c0;
            ulong p1 = 0xCD9E8D57UL * c2;
            (c0, c1, c2, c3) = ((uint)(p1 >> 32) ^ c1 ^ k0, (uint)p1, (uint)(p0 >> 32) ^ c3 ^ k1, (uint)p0);
            k0 += 0x9E3779B9;
            k1 += 0xBB67AE85;
        }

        (float x, float y) = BoxMuller(c0, c1);
        (float z, float w) = BoxMuller(c2, c3);
        return (x, y, z, w);
    }
}
