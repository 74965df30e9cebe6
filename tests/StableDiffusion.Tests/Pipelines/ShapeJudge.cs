using StableDiffusion.Imaging;

namespace StableDiffusion.Tests.Pipelines;

/// <summary>
/// Says which colours a picture of the demo model shows, by plain pixel arithmetic: the background from the frame, the object from what is
/// not background. The palette and the rule are those of the model's own evaluation (models/shapes/training/eval.py, scenes.py).
/// </summary>
internal static class ShapeJudge
{
    private const int Frame = 3;

    public static readonly IReadOnlyList<(string Name, int R, int G, int B)> Palette =
    [
        ("red", 214, 40, 40), ("orange", 245, 130, 32), ("yellow", 250, 210, 40), ("green", 52, 160, 72), ("cyan", 60, 200, 215),
        ("blue", 40, 80, 200), ("purple", 125, 60, 170), ("pink", 245, 135, 185), ("white", 248, 248, 246), ("gray", 135, 138, 142),
        ("black", 24, 24, 28),
    ];

    public static readonly IReadOnlyList<string> Shapes = ["circle", "square", "triangle", "star", "heart", "ring", "cross", "diamond"];

    /// <summary>The commonest colour of the frame, and the commonest other colour of the whole picture with its share of the pixels.</summary>
    public static (string Background, string Object, double ObjectShare) Colours(RgbImage image)
    {
        var frame = new int[Palette.Count];
        var all = new int[Palette.Count];
        ReadOnlySpan<byte> pixels = image.Pixels;
        for (int y = 0; y < image.Height; y++)
        {
            for (int x = 0; x < image.Width; x++)
            {
                int at = 3 * (y * image.Width + x);
                int colour = Nearest(pixels[at], pixels[at + 1], pixels[at + 2]);
                all[colour]++;
                if (x < Frame || y < Frame || x >= image.Width - Frame || y >= image.Height - Frame)
                {
                    frame[colour]++;
                }
            }
        }
        int background = IndexOfMax(frame);
        all[background] = 0;
        int found = IndexOfMax(all);
        return (Palette[background].Name, Palette[found].Name, all[found] / (double)(image.Width * image.Height));
    }

    private static int Nearest(int r, int g, int b)
    {
        int best = 0, distance = int.MaxValue;
        for (int i = 0; i < Palette.Count; i++)
        {
            (_, int pr, int pg, int pb) = Palette[i];
            int d = (pr - r) * (pr - r) + (pg - g) * (pg - g) + (pb - b) * (pb - b);
            if (d < distance)
            {
                (best, distance) = (i, d);
            }
        }
        return best;
    }

    private static int IndexOfMax(int[] counts) => Array.IndexOf(counts, counts.Max());
}
