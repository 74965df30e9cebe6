using StableDiffusion.Models.Unet;
using StableDiffusion.Tests.Support;

namespace StableDiffusion.Tests.Models;

/// <summary>
/// The fixtures in the repository, whatever <c>SDN_FIXTURES</c> says: for tests that use their small models as examples and know their
/// widths. The parity tests know nothing of the kind and follow <see cref="Fixtures"/>.
/// </summary>
internal static class OwnFixtures
{
    /// <summary>Absolute path of something below the repository's fixture folder.</summary>
    public static string PathOf(params ReadOnlySpan<string> parts) => Path.Combine([Fixtures.RepositoryRoot(), "tests", "fixtures", .. parts]);

    /// <summary>The families with whole models.</summary>
    public static readonly string[] Families = ["sd1", "sd2", "sdxl"];

    /// <summary>Random conditions for a batch of that size, where the family takes any.</summary>
    public static AddedConditions Added(ModelRun run, UnetConfig config, long batch)
    {
        if (!config.AddTextTime)
        {
            return default;
        }
        const int Sizes = 6;
        return new AddedConditions(run.Random(3, batch, config.ProjectionClassEmbeddingsInputDim - (Sizes * config.AdditionTimeEmbedDim)), run.Random(4, batch, Sizes));
    }
}
