using System.Text.Json;
using StableDiffusion.Random;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Random;

/// <summary>What the fixtures do not cover: the integer stream, bit equality, and how draws follow each other.</summary>
public class TorchCpuGeneratorTests
{
    /// <summary>
    /// The 10,000th number of an MT19937 seeded with 5489, as the C++ standard requires of std::mt19937 ([rand.predef]), and its
    /// first number, which is that of the authors' genrand_int32 after init_genrand(5489).
    /// </summary>
    [Test]
    public void NextUInt32_Seed5489_IsTheStandardsMersenneTwister()
    {
        TorchCpuGenerator generator = new(5489);
        Assert.That(generator.NextUInt32(), Is.EqualTo(3499211612));
        for (int i = 2; i < 10_000; i++)
        {
            generator.NextUInt32();
        }

        Assert.That(generator.NextUInt32(), Is.EqualTo(4123659995));
    }

    /// <summary>
    /// Stricter than the fixture's limit: the same polynomials with the same roundings give the very bits that PyTorch's vectorised
    /// code gave. Only where the fixtures say that they are from that code.
    /// </summary>
    [Test]
    public void Normal_DrawsOf16AndMore_AreBitIdenticalWithVectorisedTorch()
    {
        JsonElement document = Fixtures.ReadJson("rng", "rng.json");
        if (document.GetProperty("cpu_capability").GetString() is not ("AVX2" or "AVX512"))
        {
            Assert.Ignore("The fixtures are not from PyTorch's vectorised x86 code.");
        }

        TensorFile tensors = Fixtures.ReadTensors("rng", "rng.safetensors");
        foreach (JsonElement draw in document.GetProperty("single").EnumerateArray())
        {
            TestTensor expected = tensors[draw.GetProperty("tensor").GetString()!];
            if (expected.Length >= 16)
            {
                float[] actual = new float[expected.Length];
                new TorchCpuGenerator(draw.GetProperty("seed").GetUInt64()).Normal(actual);
                Tolerances.AssertEqual<float>(actual, expected.As<float>(), expected.Shape, expected.Name);
            }
        }
    }

    [Test]
    public void Normal_SeedsThatShareTheirLow32Bits_AreTheSame()
    {
        float[] small = Draw(7, 64);
        float[] large = Draw(7 + (3UL << 32), 64);
        Assert.Multiple(() =>
        {
            Assert.That(large, Is.EqualTo(small));
            Assert.That(new TorchCpuGenerator(7 + (3UL << 32)).Seed, Is.EqualTo(7 + (3UL << 32)));
            Assert.That(Draw(8, 64), Is.Not.EqualTo(small));
        });
    }

    [Test]
    public void Normal_EmptyDraw_LeavesTheStreamAlone()
    {
        TorchCpuGenerator generator = new(3);
        generator.Normal(Span<float>.Empty);
        Assert.That(generator.NextUInt32(), Is.EqualTo(new TorchCpuGenerator(3).NextUInt32()));
    }

    [TestCase(1, 4)]
    [TestCase(15, 32)]
    [TestCase(16, 16)]
    [TestCase(17, 33)]
    [TestCase(31, 47)]
    [TestCase(32, 32)]
    public void Normal_Length_TakesAsManyNumbersFromTheStreamAsTorch(int length, int taken)
    {
        // Short draws take two 64-bit numbers per pair; long ones one number per value and 16 more for a ragged end.
        TorchCpuGenerator generator = new(11);
        generator.Normal(new float[length]);
        TorchCpuGenerator stream = new(11);
        for (int i = 0; i < taken; i++)
        {
            stream.NextUInt32();
        }

        Assert.That(generator.NextUInt32(), Is.EqualTo(stream.NextUInt32()));
    }

    [Test]
    public void Uniform_ManyNumbers_LieInTheUnitInterval()
    {
        float[] values = new float[100_000];
        new TorchCpuGenerator(5).Uniform(values);
        Assert.Multiple(() =>
        {
            Assert.That(values.Min(), Is.GreaterThanOrEqualTo(0f));
            Assert.That(values.Max(), Is.LessThan(1f));
            Assert.That(values.Average(v => (double)v), Is.EqualTo(0.5).Within(5 * Math.Sqrt(1 / 12.0 / 100_000)), "five standard errors");
        });
    }

    private static float[] Draw(ulong seed, int length)
    {
        float[] values = new float[length];
        new TorchCpuGenerator(seed).Normal(values);
        return values;
    }
}
