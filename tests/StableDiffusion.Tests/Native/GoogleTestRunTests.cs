namespace StableDiffusion.Tests.Native;

/// <summary>The reading of GoogleTest's list and report, on texts in the forms that GoogleTest 1.12 prints.</summary>
public class GoogleTestRunTests
{
    [Test]
    public void ParseList_PlainTypedAndParameterisedSuites_GivesFullNames() => Assert.That(
        GoogleTestRun.ParseList("""
            Running main() from gtest_main.cc
            Arena.
              Alloc_Twice_IsAligned
              DISABLED_Slow
            Pack/1.  # TypeParam = float
              RoundTrip
            Sizes/Linear.
              Matches/0  # GetParam() = (1, 2)
              Matches/avx2_odd  # GetParam() = "a.b"

            """),
        Is.EqualTo(new[] { "Arena.Alloc_Twice_IsAligned", "Arena.DISABLED_Slow", "Pack/1.RoundTrip", "Sizes/Linear.Matches/0", "Sizes/Linear.Matches/avx2_odd" }));

    [Test]
    public void ParseReport_EveryOutcome_IsTold()
    {
        IReadOnlyDictionary<string, GoogleTestResult> results = GoogleTestRun.ParseReport("""
            { "tests": 4, "name": "AllTests", "testsuites": [
              { "name": "Sizes/Linear", "testsuite": [
                { "name": "Matches/0", "value_param": "1", "status": "RUN", "result": "COMPLETED", "time": "0s", "classname": "Sizes/Linear" },
                { "name": "Matches/1", "value_param": "2", "status": "RUN", "result": "COMPLETED", "time": "0s", "classname": "Sizes/Linear",
                  "failures": [ { "failure": "linear.cpp:7\nis 2", "type": "" }, { "failure": "and 3", "type": "" } ] },
                { "name": "Matches/2", "status": "RUN", "result": "SKIPPED", "time": "0s", "classname": "Sizes/Linear",
                  "skipped": [ { "message": "no AVX-512 here\n" } ] } ] },
              { "name": "Arena", "testsuite": [
                { "name": "DISABLED_Slow", "status": "NOTRUN", "result": "SUPPRESSED", "time": "0s", "classname": "Arena" } ] } ] }
            """);
        Assert.That(results, Is.EqualTo(new Dictionary<string, GoogleTestResult>
        {
            ["Sizes/Linear.Matches/0"] = new(GoogleTestOutcome.Passed, ""),
            ["Sizes/Linear.Matches/1"] = new(GoogleTestOutcome.Failed, "linear.cpp:7\nis 2\nand 3"),
            ["Sizes/Linear.Matches/2"] = new(GoogleTestOutcome.Skipped, "no AVX-512 here"),
            ["Arena.DISABLED_Slow"] = new(GoogleTestOutcome.Skipped, "disabled in the native tests"),
        }));
    }

    [Test]
    public void ParseOutput_CutShort_KnowsWhatPassed() => Assert.That(
        GoogleTestRun.ParseOutput("""
            [ RUN      ] Arena.Alloc
            [       OK ] Arena.Alloc (3 ms)
            [ RUN      ] Sizes/Linear.Matches/0
            [  FAILED  ] Sizes/Linear.Matches/0, where GetParam() = 1 (0 ms)
            [ RUN      ] Sizes/Linear.Matches/1
            [       OK ] Sizes/Linear.Matches/1 (0 ms)
            [ RUN      ] Arena.Crashes
            """).Keys,
        Is.EquivalentTo(new[] { "Arena.Alloc", "Sizes/Linear.Matches/1" }));
}
