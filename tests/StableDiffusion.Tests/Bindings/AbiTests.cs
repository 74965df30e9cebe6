using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using StableDiffusion.Native;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Bindings;

/// <summary>The imports and structs of the bindings against native/include/sdn.h and against the library itself.</summary>
public partial class AbiTests
{
    static readonly string Header = File.ReadAllText(Path.Combine(Fixtures.RepositoryRoot(), "native", "include", "sdn.h"));

    static IEnumerable<MethodInfo> Imports => typeof(Interop)
        .GetMethods(BindingFlags.Static | BindingFlags.NonPublic)
        .Where(method => method.Name.StartsWith("sdn_", StringComparison.Ordinal));

    [Test]
    public void AbiVersion_OfLibraryHeaderAndBindings_IsOne() => Assert.Multiple(() =>
    {
        Assert.That(Interop.sdn_abi_version(), Is.EqualTo(Interop.AbiVersion));
        Assert.That(Header, Does.Contain($"#define SDN_ABI_VERSION {Interop.AbiVersion}\n"));
        string python = File.ReadAllText(Path.Combine(Fixtures.RepositoryRoot(), "eng", "gpu", "sdn.py"));
        Assert.That(python, Does.Contain($"ABI_VERSION = {Interop.AbiVersion}\n"), "eng/gpu/sdn.py");
    });

    [TestCaseSource(nameof(StructNames))]
    public void StructSize_OfLibraryAndBindings_IsEqual(string name)
    {
        (int kind, int size, _) = Interop.Structs.Single(entry => entry.Name == name);
        Assert.That(size, Is.EqualTo(Interop.sdn_struct_size(kind)));
    }

    [Test]
    public void Structs_InHeader_AreAllChecked() => Assert.That(
        Interop.Structs.Select(entry => entry.Name), Is.EquivalentTo(StructTypedef().Matches(Header).Select(match => match.Groups[1].Value)));

    [Test]
    public void StructSize_UnknownKind_IsMinusOne() => Assert.That(Interop.sdn_struct_size(Interop.Structs.Length), Is.EqualTo(-1));

    [Test]
    public void Imports_OfEveryFunctionInTheHeader_HaveAsManyParameters()
    {
        Dictionary<string, int> declared = Declaration().Matches(Header).ToDictionary(
            match => match.Groups[1].Value, match => match.Groups[2].Value == "void" ? 0 : match.Groups[2].Value.Count(c => c == ',') + 1);
        Dictionary<string, int> imported = Imports.ToDictionary(method => method.Name, method => method.GetParameters().Length);
        Assert.That(imported, Is.EquivalentTo(declared));
    }

    [Test]
    public void Status_Values_AreThoseOfTheHeader()
    {
        int[] declared = [.. StatusValue().Matches(Header).Select(match => int.Parse(match.Groups[1].Value)), 0];
        Assert.That(Enum.GetValues<Status>().Select(status => (int)status), Is.EquivalentTo(declared));
    }

    [Test]
    public void BuildInfo_IsOneLineNamingVersionAndCuda() => Assert.That(
        NativeLibraryLocator.BuildInfo, Does.StartWith($"sdn ABI {Interop.AbiVersion}").And.Contain("CUDA").And.Not.Contain("\n"));

    [Test]
    public void Library_IsTheOneBesideTheAssembliesOrTheConfigured()
    {
        string configured = Environment.GetEnvironmentVariable("SDN_LIBRARY") is { Length: > 0 } path ? path : AppContext.BaseDirectory;
        Assert.That(NativeLibraryLocator.Path, Does.StartWith(configured));
        Assert.That(NativeLibrary.TryGetExport(NativeLibraryLocator.Load(), "sdn_linear", out _));
    }

    static IEnumerable<string> StructNames() => Interop.Structs.Select(entry => entry.Name);

    [GeneratedRegex(@"typedef struct sdn_\w+ \{[^}]*\} (sdn_\w+);")]
    private static partial Regex StructTypedef();

    [GeneratedRegex(@"SDN_API [\w ]+\*? ?(sdn_\w+)\(([^)]*)\);")]
    private static partial Regex Declaration();

    [GeneratedRegex(@"SDN_ERROR_\w+ = (\d+)")]
    private static partial Regex StatusValue();
}
