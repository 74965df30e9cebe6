namespace StableDiffusion.Imaging;

/// <summary>
/// The five row filters of PNG (PNG specification, section 9): each byte minus a guess from the bytes to the left (a), above (b) and
/// above left (c), which are zero outside the picture.
/// </summary>
internal static class PngFilter
{
    public const int Count = 5;

    /// <summary>Filters a row.</summary>
    /// <param name="type">0 none, 1 sub (a), 2 up (b), 3 average ((a + b) / 2), 4 Paeth (whichever of a, b, c is nearest to a + b - c).</param>
    /// <param name="row">The row.</param>
    /// <param name="above">The row above it, zeros for the first.</param>
    /// <param name="pixelBytes">Bytes per pixel.</param>
    /// <param name="filtered">Receives the filtered row.</param>
    public static void Apply(int type, ReadOnlySpan<byte> row, ReadOnlySpan<byte> above, int pixelBytes, Span<byte> filtered)
    {
        for (int i = 0; i < row.Length; i++)
        {
            byte a = i < pixelBytes ? (byte)0 : row[i - pixelBytes];
            byte c = i < pixelBytes ? (byte)0 : above[i - pixelBytes];
            filtered[i] = (byte)(row[i] - Guess(type, a, above[i], c));
        }
    }

    /// <summary>Undoes a filter in place.</summary>
    public static void Undo(int type, Span<byte> row, ReadOnlySpan<byte> above, int pixelBytes)
    {
        for (int i = 0; i < row.Length; i++)
        {
            byte a = i < pixelBytes ? (byte)0 : row[i - pixelBytes];
            byte c = i < pixelBytes ? (byte)0 : above[i - pixelBytes];
            row[i] += Guess(type, a, above[i], c);
        }
    }

    /// <summary>The usual measure of how well a filtered row will compress: the sum of its bytes' distances from zero.</summary>
    public static long Cost(ReadOnlySpan<byte> filtered)
    {
        long sum = 0;
        foreach (byte b in filtered)
        {
            sum += Math.Abs((int)(sbyte)b);
        }

        return sum;
    }

    private static byte Guess(int type, byte a, byte b, byte c) => type switch
    {
        1 => a,
        2 => b,
        3 => (byte)((a + b) / 2),
        4 => Paeth(a, b, c),
        _ => 0,
    };

    private static byte Paeth(int a, int b, int c)
    {
        int p = a + b - c;
        int toA = Math.Abs(p - a);
        int toB = Math.Abs(p - b);
        int toC = Math.Abs(p - c);
        return (byte)(toA <= toB && toA <= toC ? a : toB <= toC ? b : c);
    }
}
