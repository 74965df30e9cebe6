using StableDiffusion.Random;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Random;

/// <summary>Against numbers that PyTorch users printed from their GPUs.</summary>
public class TorchCudaGeneratorTests
{
    // Half of the last printed decimal, and what a GPU's sine may be off (2^-21, times a radius of at most 6.7).
    private const float PrintedLimit = 5e-5f + (6.7f / (1 << 21));

    /// <summary>
    /// The example of modules/rng_philox.py in AUTOMATIC1111/stable-diffusion-webui, which imitates torch.randn((3, 4), device="cuda")
    /// after torch.manual_seed(0): in double precision, so its last digits are not those of float32.
    /// </summary>
    [Test]
    public void Normal_Seed0_IsTheWebUisExample()
    {
        float[] expected =
        [
            -0.92466259f, -0.42534415f, -2.6438457f, 0.14518388f, -0.12086647f, -0.57972564f, -0.62285122f, -0.32838709f, -1.07454231f,
            -0.36314407f, -1.67105067f, 2.26550497f,
        ];
        float[] actual = Draw(0, new TorchCudaGpu(132, 2048), 12);

        // log and the products around it in float32: some 2^-23 of a radius of at most 3, twice over.
        Tolerances.AssertAbsoluteError(actual, expected, [12], 1e-6, "seed 0");
    }

    /// <summary>
    /// pytorch/pytorch issue 158398: randn([1, 64, 2048]) of seed 42 on two GPUs. The first rows are common; the last are those of the
    /// one whose 43,008 threads are an RTX 3060's (the issue does not name it).
    /// </summary>
    [Test]
    public void Normal_MoreElementsThanThreadsOfAnRtx3060_IsItsPrintedTensor()
    {
        float[] values = Draw(42, TorchCudaGpu.FromName("RTX 3060"), 64 * 2048);
        AssertPrinted(
            values,
            (0, 0.1940f), (1, 2.1614f), (2, -0.1721f), (2045, 1.4540f), (2046, -2.7733f), (2047, -0.8932f),
            (2048, -0.4574f), (4095, -1.2535f), ((2 * 2048) + 1, -0.6329f), (61 * 2048, -0.4861f), ((62 * 2048) - 1, 0.1318f),
            ((62 * 2048) + 1, 0.8339f), (63 * 2048, -1.2356f), ((63 * 2048) + 1, -0.4083f), ((64 * 2048) - 2, 1.2850f), ((64 * 2048) - 1, -0.0282f));
    }

    /// <summary>pytorch/pytorch issue 97097: normal_(5, sqrt 5) of shape [1000, 100], seed 14, on an RTX A4000.</summary>
    [Test]
    public void Normal_MoreElementsThanThreadsOfAnRtxA4000_IsItsPrintedTensor()
    {
        float[] values = Draw(14, TorchCudaGpu.FromName("NVIDIA RTX A4000"), 1000 * 100);
        float scale = MathF.Sqrt(5);
        (int Index, float Value)[] printed =
        [
            (0, 2.8731f), (99, 6.6319f), (101, 3.8097f), (299, 3.3063f), (99_700, 8.6297f), (99_801, 7.8583f), (99_900, 2.7337f),
            (99_998, 6.5395f), (99_999, 4.2604f),
        ];
        AssertPrinted(values, scale, [.. printed.Select(p => (p.Index, (p.Value - 5) / scale))]);
    }

    /// <summary>
    /// pytorch/pytorch issue 143086: randn(1, 49 * 12 * 112 * 144) of seed 1, so many elements that every thread draws several times.
    /// </summary>
    [TestCase("H100", -0.6970f, -0.7780f, 0.3267f)]
    [TestCase("A100", 0.1549f, -0.6797f, -0.1656f)]
    public void Normal_SeveralDrawsPerThread_IsThePrintedTensor(string gpu, float thirdLast, float secondLast, float last)
    {
        const int Count = 49 * 12 * 112 * 144;
        float[] values = Draw(1, TorchCudaGpu.FromName(gpu), Count);
        AssertPrinted(
            values, (0, -0.2963f), (1, 2.6764f), (2, -0.1408f), (Count - 3, thirdLast), (Count - 2, secondLast), (Count - 1, last));
    }

    /// <summary>
    /// The next call continues where the offset stands, by calc_execution_policy of PyTorch's DistributionTemplates.h: 4 for each draw
    /// of a thread, and 4 of a draw's numbers for each thread.
    /// </summary>
    [TestCase(1, 4ul)]
    [TestCase(2048, 4ul)]
    [TestCase(2049, 8ul)]
    [TestCase(5000, 12ul)]
    public void Normal_Offset_GrowsByFourPerDrawOfAThread(int count, ulong offset)
    {
        TorchCudaGpu gpu = new(1, 512);
        TorchCudaGenerator generator = new(3, gpu);
        generator.Normal(new float[count]);
        Assert.That(generator.Offset, Is.EqualTo(offset));

        float[] next = new float[7];
        generator.Normal(next);
        float[] expected = new float[7];
        new TorchCudaGenerator(3, gpu, offset).Normal(expected);
        Assert.That(next, Is.EqualTo(expected));
        Assert.That(next, Is.Not.EqualTo(Draw(3, gpu, 7)));
    }

    [Test]
    public void Normal_SeedsThatShareTheirLow32Bits_Differ() =>
        Assert.That(Draw(7 + (3UL << 32), new TorchCudaGpu(28, 1536), 8), Is.Not.EqualTo(Draw(7, new TorchCudaGpu(28, 1536), 8)));

    [Test]
    public void Normal_NoElements_DrawsNothing()
    {
        TorchCudaGenerator generator = new(3, new TorchCudaGpu(28, 1536));
        generator.Normal([]);
        Assert.That(generator.Offset, Is.Zero);
    }

    /// <summary>Multiprocessors and threads as users printed them in pytorch/pytorch issues 194676 and 196613 and pull request 176584.</summary>
    [TestCase("Tesla T4", 40, 1024)]
    [TestCase("NVIDIA L4", 58, 1536)]
    [TestCase("NVIDIA A10G", 80, 1536)]
    [TestCase("NVIDIA L40S", 142, 1536)]
    [TestCase("NVIDIA H100 PCIe", 114, 2048)]
    [TestCase("NVIDIA H100 80GB HBM3", 132, 2048)]
    [TestCase("NVIDIA A100-SXM4-80GB", 108, 2048)]
    [TestCase("NVIDIA GeForce RTX 4090 D", 114, 1536)]
    [TestCase("rtx 4090", 128, 1536)]
    public void FromName_NamesOfDrivers_AreKnown(string name, int multiprocessors, int threads) =>
        Assert.That(TorchCudaGpu.FromName(name), Is.EqualTo(new TorchCudaGpu(multiprocessors, threads)));

    [Test]
    public void FromName_EveryListedName_IsItself() =>
        Assert.That(TorchCudaGpu.Names.Select(name => TorchCudaGpu.FromName(name).Multiprocessors), Has.All.GreaterThan(0));

    [Test]
    public void FromName_UnknownName_ListsTheKnownOnes() =>
        Assert.That(
            () => TorchCudaGpu.FromName("RTX 1"),
            Throws.ArgumentException.With.Message.Contains("\"RTX 1\"").And.Message.Contains("RTX 4090"));

    [Test]
    public void Constructors_NumbersNoGpuHas_Throw()
    {
        Assert.Multiple(() =>
        {
            Assert.That(() => new TorchCudaGpu(0, 2048), Throws.InstanceOf<ArgumentOutOfRangeException>());
            Assert.That(() => new TorchCudaGpu(80, 255), Throws.InstanceOf<ArgumentOutOfRangeException>());
            Assert.That(() => new TorchCudaGenerator(1, null!), Throws.ArgumentNullException);
            Assert.That(() => new TorchCudaGenerator(1, new(80, 2048), 2), Throws.InstanceOf<ArgumentOutOfRangeException>());
        });
    }

    private static float[] Draw(ulong seed, TorchCudaGpu gpu, int count)
    {
        float[] values = new float[count];
        new TorchCudaGenerator(seed, gpu).Normal(values);
        return values;
    }

    private static void AssertPrinted(float[] values, params (int Index, float Value)[] printed) => AssertPrinted(values, 1, printed);

    private static void AssertPrinted(float[] values, float scale, (int Index, float Value)[] printed)
    {
        Assert.Multiple(() =>
        {
            foreach ((int index, float value) in printed)
            {
                Assert.That(values[index], Is.EqualTo(value).Within(PrintedLimit / Math.Min(scale, 1)), $"element {index}");
            }
        });
    }
}
