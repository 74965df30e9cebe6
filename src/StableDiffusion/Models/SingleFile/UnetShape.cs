using System.Collections.Immutable;
using StableDiffusion.Models.Unet;
using StableDiffusion.Weights;

namespace StableDiffusion.Models.SingleFile;

/// <summary>Works the configuration of a UNet out from the names and shapes of the original layout.</summary>
internal static class UnetShape
{
    private const int NormGroups = 32, HeadChannels = 64, HeadsOfSD1 = 8, SizeEmbedding = 256;

    /// <summary>
    /// The configuration. What shapes do not tell is as in the published models: 32 norm groups; 8 heads where the projections are
    /// convolutions (SD 1.x), else heads of 64 channels (SD 2.x, SDXL); picture sizes embedded in 256 channels.
    /// </summary>
    /// <exception cref="InvalidWeightsException">Tensors are missing.</exception>
    /// <exception cref="NotSupportedException">A layout that is not that of the UNet.</exception>
    public static UnetConfig Derive(StoredShapes shapes)
    {
        List<Level> down = Down(shapes);
        int middle = Depth(shapes, $"middle_block.1");
        if (middle == 0)
        {
            throw Unsupported(shapes, "has no attention in its middle, as distilled models (SSD-1B and others)");
        }
        List<ImmutableArray<int>> up = Up(shapes, down);
        ImmutableArray<int> channels = [.. down.Select(level => level.Channels)];
        if (channels.Any(count => count % NormGroups != 0))
        {
            throw Unsupported(shapes, $"has {string.Join(", ", channels)} channels, which {NormGroups} norm groups do not divide, and no configuration in its metadata");
        }
        Level attending = down.Find(level => level.Attends) ?? throw Unsupported(shapes, "has no attention on the way down");
        bool linear = shapes.Rank($"input_blocks.{attending.First}.1.proj_in.weight") == 2;
        int context = shapes.Size($"input_blocks.{attending.First}.1.transformer_blocks.0.attn2.to_k.weight", 1);
        bool added = shapes.Has($"label_emb.0.0.weight");
        // The middle has no entry of its own: it goes by the last level's, which a level without attention has no other use for.
        Level last = down[^1];
        if (last.Attends && last.Depths[0] != middle)
        {
            throw Unsupported(shapes, $"has {middle} transformer blocks in its middle and {last.Depths[0]} in the level before");
        }
        ImmutableArray<ImmutableArray<int>> depths = [.. down.Select(level => level.Attends ? level.Depths : Repeat(level == last ? middle : 1, level.Depths.Length))];
        return new UnetConfig
        {
            InChannels = shapes.Size($"input_blocks.0.0.weight", 1),
            OutChannels = shapes.Size($"out.2.weight", 0),
            BlockOutChannels = channels,
            LayersPerBlock = [.. down.Select(level => level.Depths.Length)],
            DownBlockTypes = [.. down.Select(level => level.Attends ? UnetConfig.CrossAttnDownBlock : UnetConfig.DownBlock)],
            UpBlockTypes = [.. up.Select(level => level[0] > 0 ? UnetConfig.CrossAttnUpBlock : UnetConfig.UpBlock)],
            TransformerLayersPerBlock = depths,
            UpTransformerLayersPerBlock = [.. up.Select((level, i) => level[0] > 0 ? level : Repeat(depths[down.Count - 1 - i][^1], level.Length))],
            CrossAttentionDim = Repeat(context, down.Count),
            NumAttentionHeads = [.. channels.Select(count => linear ? Math.Max(1, count / HeadChannels) : HeadsOfSD1)],
            UseLinearProjection = linear,
            UpcastAttention = linear && !added,
            AddTextTime = added,
            AdditionTimeEmbedDim = added ? SizeEmbedding : 0,
            ProjectionClassEmbeddingsInputDim = added ? shapes.Size($"label_emb.0.0.weight", 1) : 0,
            TimeCondProjDim = shapes.Has($"time_embed.cond_proj.weight") ? shapes.Size($"time_embed.cond_proj.weight", 1) : null,
            ConvInKernel = shapes.Size($"input_blocks.0.0.weight", 3),
            ConvOutKernel = shapes.Size($"out.2.weight", 3),
        };
    }

    private static List<Level> Down(StoredShapes shapes)
    {
        var levels = new List<Level>();
        var depths = new List<int>();
        int first = 1, channels = 0;
        for (int i = 1; ; i++)
        {
            if (shapes.Has($"input_blocks.{i}.0.in_layers.2.weight"))
            {
                channels = shapes.Size($"input_blocks.{i}.0.in_layers.2.weight", 0);
                depths.Add(Depth(shapes, $"input_blocks.{i}.1"));
                continue;
            }
            if (depths.Count == 0 || depths.Any(depth => depth == 0 != (depths[0] == 0)))
            {
                throw Unsupported(shapes, "has an order of blocks that Stable Diffusion does not have");
            }
            levels.Add(new Level(first, channels, [.. depths]));
            if (!shapes.Has($"input_blocks.{i}.0.op.weight"))
            {
                return levels;
            }
            depths.Clear();
            first = i + 1;
        }
    }

    private static List<ImmutableArray<int>> Up(StoredShapes shapes, List<Level> down)
    {
        var levels = new List<ImmutableArray<int>>();
        int index = 0;
        foreach (Level level in Enumerable.Reverse(down))
        {
            ImmutableArray<int> depths = [.. Enumerable.Range(index, level.Depths.Length + 1).Select(i => Depth(shapes, $"output_blocks.{i}.1"))];
            if (depths.Any(depth => depth == 0 != (depths[0] == 0)))
            {
                throw Unsupported(shapes, "has an order of blocks that Stable Diffusion does not have");
            }
            levels.Add(depths);
            index += depths.Length;
        }
        return levels;
    }

    private static int Depth(StoredShapes shapes, FormattableString attention) =>
        shapes.Count(t => $"{attention}.transformer_blocks.{t}.norm1.weight");

    private static ImmutableArray<int> Repeat(int value, int count) => [.. Enumerable.Repeat(value, count)];

    private static NotSupportedException Unsupported(StoredShapes shapes, string what) =>
        new($"'{shapes.Location}' cannot be loaded: its UNet {what}, which is not supported.");

    /// <summary>A level on the way down.</summary>
    private sealed record Level(int First, int Channels, ImmutableArray<int> Depths)
    {
        public bool Attends => Depths[0] > 0;
    }
}
