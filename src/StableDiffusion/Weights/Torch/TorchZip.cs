using System.Buffers.Binary;
using System.Text;

namespace StableDiffusion.Weights.Torch;

/// <summary>
/// The directory of a zip archive, zip64 included, for reading stored entries in place (PKWARE's APPNOTE 6.3). .NET's own reader gives
/// streams, which threads cannot share, and not where an entry lies.
/// </summary>
internal sealed class TorchZip
{
    private const string Part = "its zip directory";
    private const int EndBytes = 22;
    private const int LocatorBytes = 20;
    private const int End64Bytes = 56;
    private const int EntryBytes = 46;
    private const int LocalBytes = 30;
    private const long MaxDirectoryBytes = 64 << 20;

    private readonly PositionedFile file;
    private readonly Dictionary<string, Entry> entries = new(StringComparer.Ordinal);

    private TorchZip(PositionedFile file) => this.file = file;

    /// <summary>The names of all entries.</summary>
    public IReadOnlyCollection<string> Names => entries.Keys;

    /// <summary>Reads and checks the directory.</summary>
    /// <exception cref="InvalidWeightsException">It is missing, as of a truncated file, or damaged.</exception>
    public static TorchZip Read(PositionedFile file)
    {
        TorchZip zip = new(file);
        (long begin, long bytes, ulong count) = zip.FindDirectory();
        if (bytes > MaxDirectoryBytes || count > (ulong)(bytes / EntryBytes) || begin < 0 || bytes < 0 || begin > file.Length - bytes)
        {
            throw zip.Bad($"it claims {count} entries in {bytes} bytes at byte {begin}");
        }

        zip.ReadEntries(file.ReadBytes(begin, (int)bytes, Part), count);
        return zip;
    }

    /// <summary>True if there is an entry of that name.</summary>
    public bool Has(string name) => entries.ContainsKey(name);

    /// <summary>Where the bytes of an entry lie in the file, or null if there is none.</summary>
    /// <exception cref="InvalidWeightsException">The entry is compressed, encrypted or not in the file.</exception>
    public (long Begin, long Bytes)? Locate(string name)
    {
        if (!entries.TryGetValue(name, out Entry entry))
        {
            return null;
        }

        if (entry.Method != 0 || (entry.Flags & 1) != 0 || entry.Compressed != entry.Bytes)
        {
            throw SafetensorsHeader.Bad(file.Path, $"its entry {SafetensorsHeader.Quote(name)} is compressed or encrypted, and PyTorch stores entries as they are");
        }

        byte[] local = file.ReadBytes(entry.Local, LocalBytes, $"its entry {SafetensorsHeader.Quote(name)}");
        if (BinaryPrimitives.ReadUInt32LittleEndian(local) != 0x04034b50)
        {
            throw Bad($"its entry {SafetensorsHeader.Quote(name)} is not where it should be");
        }

        long begin = entry.Local + LocalBytes + BinaryPrimitives.ReadUInt16LittleEndian(local.AsSpan(26)) + BinaryPrimitives.ReadUInt16LittleEndian(local.AsSpan(28));
        return begin <= file.Length - entry.Bytes
            ? (begin, entry.Bytes)
            : throw SafetensorsHeader.Bad(file.Path, $"its entry {SafetensorsHeader.Quote(name)} ends behind the end of the file");
    }

    // The directory's place is at the end of the file, before a comment; in zip64 it is in a larger record before that.
    private (long Begin, long Bytes, ulong Count) FindDirectory()
    {
        int tailBytes = (int)Math.Min(file.Length, EndBytes + ushort.MaxValue + LocatorBytes);
        byte[] tail = file.ReadBytes(file.Length - tailBytes, tailBytes, Part);
        int at = tailBytes - EndBytes;
        while (at >= 0 && !(BinaryPrimitives.ReadUInt32LittleEndian(tail.AsSpan(at)) == 0x06054b50
            && at + EndBytes + BinaryPrimitives.ReadUInt16LittleEndian(tail.AsSpan(at + 20)) == tailBytes))
        {
            at--;
        }

        if (at < 0)
        {
            throw SafetensorsHeader.Bad(file.Path, "it begins as a zip archive but has no zip directory at its end, so it is truncated");
        }

        ReadOnlySpan<byte> end = tail.AsSpan(at);
        uint count = BinaryPrimitives.ReadUInt16LittleEndian(end[10..]);
        uint bytes = BinaryPrimitives.ReadUInt32LittleEndian(end[12..]);
        uint begin = BinaryPrimitives.ReadUInt32LittleEndian(end[16..]);
        bool has64 = at >= LocatorBytes && BinaryPrimitives.ReadUInt32LittleEndian(tail.AsSpan(at - LocatorBytes)) == 0x07064b50;
        if (!has64)
        {
            return (begin, bytes, count);
        }

        long end64At = BinaryPrimitives.ReadInt64LittleEndian(tail.AsSpan(at - LocatorBytes + 8));
        byte[] end64 = file.ReadBytes(end64At, End64Bytes, Part);
        return BinaryPrimitives.ReadUInt32LittleEndian(end64) == 0x06064b50
            ? (BinaryPrimitives.ReadInt64LittleEndian(end64.AsSpan(48)), BinaryPrimitives.ReadInt64LittleEndian(end64.AsSpan(40)), BinaryPrimitives.ReadUInt64LittleEndian(end64.AsSpan(32)))
            : throw Bad("its zip64 record is not where it should be");
    }

    private void ReadEntries(ReadOnlySpan<byte> directory, ulong count)
    {
        for (ulong i = 0; i < count; i++)
        {
            if (directory.Length < EntryBytes || BinaryPrimitives.ReadUInt32LittleEndian(directory) != 0x02014b50)
            {
                throw Bad($"its entry {i} of {count} is malformed");
            }

            int nameBytes = BinaryPrimitives.ReadUInt16LittleEndian(directory[28..]);
            int extraBytes = BinaryPrimitives.ReadUInt16LittleEndian(directory[30..]);
            int entryBytes = EntryBytes + nameBytes + extraBytes + BinaryPrimitives.ReadUInt16LittleEndian(directory[32..]);
            if (entryBytes > directory.Length)
            {
                throw Bad($"its entry {i} of {count} is malformed");
            }

            string name = Encoding.UTF8.GetString(directory.Slice(EntryBytes, nameBytes));
            Entry entry = new(
                BinaryPrimitives.ReadUInt16LittleEndian(directory[8..]),
                BinaryPrimitives.ReadUInt16LittleEndian(directory[10..]),
                BinaryPrimitives.ReadUInt32LittleEndian(directory[20..]),
                BinaryPrimitives.ReadUInt32LittleEndian(directory[24..]),
                BinaryPrimitives.ReadUInt32LittleEndian(directory[42..]));
            entry = Widen(entry, directory.Slice(EntryBytes + nameBytes, extraBytes));
            if (entry.Bytes < 0 || entry.Compressed < 0 || entry.Local < 0)
            {
                throw Bad($"the size of its entry {SafetensorsHeader.Quote(name)} is negative");
            }

            if (!entries.TryAdd(name, entry))
            {
                throw Bad($"it has the entry {SafetensorsHeader.Quote(name)} twice");
            }

            directory = directory[entryBytes..];
        }
    }

    // What does not fit 32 bits is all ones there and comes, in this order, in the extra field 1.
    private Entry Widen(Entry entry, ReadOnlySpan<byte> extra)
    {
        while (extra.Length >= 4)
        {
            int fieldBytes = BinaryPrimitives.ReadUInt16LittleEndian(extra[2..]);
            if (fieldBytes > extra.Length - 4)
            {
                break; // Java and Android pad the field with what is no record.
            }

            if (BinaryPrimitives.ReadUInt16LittleEndian(extra) == 1)
            {
                ReadOnlySpan<byte> field = extra.Slice(4, fieldBytes);
                long bytes = Take(entry.Bytes, ref field);
                long compressed = Take(entry.Compressed, ref field);
                return entry with { Bytes = bytes, Compressed = compressed, Local = Take(entry.Local, ref field) };
            }

            extra = extra[(4 + fieldBytes)..];
        }

        return entry;

        long Take(long narrow, ref ReadOnlySpan<byte> field)
        {
            if (narrow != uint.MaxValue)
            {
                return narrow;
            }

            if (field.Length < sizeof(long))
            {
                throw Bad("it lacks the zip64 size of an entry");
            }

            long wide = BinaryPrimitives.ReadInt64LittleEndian(field);
            field = field[sizeof(long)..];
            return wide;
        }
    }

    private InvalidWeightsException Bad(string why) => SafetensorsHeader.Bad(file.Path, $"its zip directory is damaged: {why}");

    private readonly record struct Entry(ushort Flags, ushort Method, long Compressed, long Bytes, long Local);
}
