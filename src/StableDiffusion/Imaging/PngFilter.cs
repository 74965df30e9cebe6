using System.Numerics;

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
        int i = 0;
        for (; i < Math.Min(pixelBytes, row.Length); i++)
        {
            filtered[i] = (byte)(row[i] - Guess(type, 0, above[i], 0));
        }

        for (; i + Vector<byte>.Count <= row.Length; i += Vector<byte>.Count)
        {
            Vector<byte> a = new(row[(i - pixelBytes)..]);
            Vector<byte> b = new(above[i..]);
            Vector<byte> c = new(above[(i - pixelBytes)..]);
            (new Vector<byte>(row[i..]) - Guess(type, a, b, c)).CopyTo(filtered[i..]);
        }

        for (; i < row.Length; i++)
        {
            filtered[i] = (byte)(row[i] - Guess(type, row[i - pixelBytes], above[i], above[i - pixelBytes]));
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
        Vector<uint> sums = Vector<uint>.Zero;
        int i = 0;
        for (; i + Vector<byte>.Count <= filtered.Length; i += Vector<byte>.Count)
        {
            Vector<byte> values = new(filtered[i..]);
            Vector.Widen(Vector.Min(values, Vector<byte>.Zero - values), out Vector<ushort> low, out Vector<ushort> high);
            Vector.Widen(low + high, out Vector<uint> first, out Vector<uint> second);
            sums += first + second;
        }

        long sum = Vector.Sum(sums);
        for (; i < filtered.Length; i++)
        {
            sum += Math.Abs((int)(sbyte)filtered[i]);
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

    private static Vector<byte> Guess(int type, Vector<byte> a, Vector<byte> b, Vector<byte> c)
    {
        switch (type)
        {
            case 1:
                return a;
            case 2:
                return b;
            case 3:
                return (a & b) + Vector.ShiftRightLogical(a ^ b, 1); // The mean without a ninth bit.
            case 4:
                Vector.Widen(a, out Vector<ushort> a0, out Vector<ushort> a1);
                Vector.Widen(b, out Vector<ushort> b0, out Vector<ushort> b1);
                Vector.Widen(c, out Vector<ushort> c0, out Vector<ushort> c1);
                return Vector.Narrow(Paeth(a0, b0, c0), Paeth(a1, b1, c1));
            default:
                return Vector<byte>.Zero;
        }
    }

    private static Vector<ushort> Paeth(Vector<ushort> ua, Vector<ushort> ub, Vector<ushort> uc)
    {
        Vector<short> a = Vector.AsVectorInt16(ua);
        Vector<short> b = Vector.AsVectorInt16(ub);
        Vector<short> c = Vector.AsVectorInt16(uc);
        Vector<short> toA = Vector.Abs(b - c);
        Vector<short> toB = Vector.Abs(a - c);
        Vector<short> toC = Vector.Abs(a + b - c - c);
        Vector<short> bOrC = Vector.ConditionalSelect(Vector.LessThanOrEqual(toB, toC), b, c);
        Vector<short> isA = Vector.LessThanOrEqual(toA, toB) & Vector.LessThanOrEqual(toA, toC);
        return Vector.AsVectorUInt16(Vector.ConditionalSelect(isA, a, bOrC));
    }
}
