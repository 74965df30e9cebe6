namespace StableDiffusion.Tests.Native;

/// <summary>The GoogleTest cases of the native library, each as a test of its own: run once together, reported one by one.</summary>
public class NativeTests
{
    const string Missing = "The native tests were not built, because GoogleTest was not found: install libgtest-dev (Debian, Ubuntu), gtest-devel (Fedora) or googletest (Homebrew) and build again.";

    static readonly Lazy<(IReadOnlyDictionary<string, GoogleTestResult> Results, string Ending)> Run = new(GoogleTestRun.RunAll);

    [TestCaseSource(nameof(Cases))]
    public void GoogleTest(string name)
    {
        GoogleTestResult result = Run.Value.Results.GetValueOrDefault(name)
            ?? new(GoogleTestOutcome.Failed, $"{name} did not finish. {Run.Value.Ending}");
        switch (result.Outcome)
        {
            case GoogleTestOutcome.Failed:
                Assert.Fail(result.Text);
                break;
            case GoogleTestOutcome.Skipped:
                Assert.Ignore(result.Text);
                break;
        }
    }

    static IEnumerable<TestCaseData> Cases() => File.Exists(GoogleTestRun.Executable)
        ? GoogleTestRun.List().Select(name => new TestCaseData(name).SetName(name))
        : [new TestCaseData("").SetName("GoogleTest").Ignore(Missing)];
}
