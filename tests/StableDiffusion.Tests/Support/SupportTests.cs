using System.Text;

namespace StableDiffusion.Tests.Support;

/// <summary>The test support itself: a measure that passes everything would hide every fault.</summary>
public class SupportTests
{
    [Test]
    public void PeakError_OneWrongValue_IsRelativeToTheLargestReference() =>
        Assert.That(Tolerances.PeakError([1, 2, -4.5f], [1, 2, -4]), Is.EqualTo(0.125));

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    [TestCase(1.1f)]
    public void AssertPeakError_BadValue_FailsNamingItsIndex(float bad)
    {
        AssertionException? failure = Assert.Throws<AssertionException>(
            () => Tolerances.AssertPeakError([1, 2, 3, bad], [1, 2, 3, 1], [2, 2], 1e-3, "case"));
        Assert.That(failure!.Message, Does.Contain("case").And.Contain("first bad index [1, 1]"));
    }

    [Test]
    public void AssertPeakError_WithinLimit_Passes() =>
        Assert.DoesNotThrow(() => Tolerances.AssertPeakError([1, 2.001f], [1, 2], [2], 1e-3, "case"));

    [TestCase("F32", "0000803F", 1)]
    [TestCase("F64", "000000000000F03F", 1)]
    [TestCase("F16", "003C", 1)]
    [TestCase("BF16", "803F", 1)]
    [TestCase("I64", "FEFFFFFFFFFFFFFF", -2)]
    [TestCase("I32", "FEFFFFFF", -2)]
    [TestCase("U8", "FE", 254)]
    public void TensorFile_EveryDtype_GivesItsNumber(string dtype, string hex, double expected)
    {
        byte[] raw = Convert.FromHexString(hex);
        byte[] header = Encoding.UTF8.GetBytes($$"""{"x":{"dtype":"{{dtype}}","shape":[1],"data_offsets":[0,{{raw.Length}}] } }""");
        string path = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"{Guid.NewGuid():N}.safetensors");
        try
        {
            File.WriteAllBytes(path, [.. BitConverter.GetBytes((long)header.Length), .. header, .. raw]);
            Assert.That(TensorFile.Read(path)["x"].ToDouble(), Is.EqualTo(new[] { expected }));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Test]
    public void Fixtures_Root_HoldsTheManifest() => Assert.That(File.Exists(Fixtures.PathOf("manifest.json")));
}
