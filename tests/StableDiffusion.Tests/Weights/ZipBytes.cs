using System.Buffers.Binary;
using System.IO.Compression;

namespace StableDiffusion.Tests.Weights;

/// <summary>Builds zip archives in memory.</summary>
internal static class ZipBytes
{
    /// <summary>An archive of stored entries, as torch.save writes.</summary>
    public static byte[] Stored(params (string Name, byte[] Content)[] entries) => Make(CompressionLevel.NoCompression, entries);

    /// <summary>An archive by .NET's own writer.</summary>
    public static byte[] Make(CompressionLevel level, params (string Name, byte[] Content)[] entries)
    {
        using MemoryStream stream = new();
        using (ZipArchive zip = new(stream, ZipArchiveMode.Create))
        {
            foreach ((string name, byte[] content) in entries)
            {
                using Stream entry = zip.CreateEntry(name, level).Open();
                entry.Write(content);
            }
        }

        return stream.ToArray();
    }

    /// <summary>The same archive with every size and place of its directory in zip64 fields (APPNOTE 4.3.14 and 4.5.3).</summary>
    public static byte[] ToZip64(byte[] zip)
    {
        int end = zip.Length - 22;
        int count = BinaryPrimitives.ReadUInt16LittleEndian(zip.AsSpan(end + 10));
        int begin = BinaryPrimitives.ReadInt32LittleEndian(zip.AsSpan(end + 16));
        List<byte> result = [.. zip[..begin]];
        for (int at = begin; at < end;)
        {
            byte[] head = zip[at..(at + 46)];
            int nameBytes = BinaryPrimitives.ReadUInt16LittleEndian(head.AsSpan(28));
            int skipped = BinaryPrimitives.ReadUInt16LittleEndian(head.AsSpan(30)) + BinaryPrimitives.ReadUInt16LittleEndian(head.AsSpan(32));
            byte[] extra = new byte[4 + 4 + 24]; // Another field first, of no bytes.
            BinaryPrimitives.WriteUInt16LittleEndian(extra, 0x7075);
            BinaryPrimitives.WriteUInt16LittleEndian(extra.AsSpan(4), 1);
            BinaryPrimitives.WriteUInt16LittleEndian(extra.AsSpan(6), 24);
            foreach ((int from, int to) in new[] { (24, 8), (20, 16), (42, 24) })
            {
                BinaryPrimitives.WriteUInt64LittleEndian(extra.AsSpan(to), BinaryPrimitives.ReadUInt32LittleEndian(head.AsSpan(from)));
                BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(from), uint.MaxValue);
            }

            BinaryPrimitives.WriteUInt16LittleEndian(head.AsSpan(30), (ushort)extra.Length);
            BinaryPrimitives.WriteUInt16LittleEndian(head.AsSpan(32), 0);
            result.AddRange([.. head, .. zip[(at + 46)..(at + 46 + nameBytes)], .. extra]);
            at += 46 + nameBytes + skipped;
        }

        byte[] tail = new byte[56 + 20 + 22];
        BinaryPrimitives.WriteUInt32LittleEndian(tail, 0x06064b50);
        BinaryPrimitives.WriteInt64LittleEndian(tail.AsSpan(4), 44);
        BinaryPrimitives.WriteInt64LittleEndian(tail.AsSpan(24), count);
        BinaryPrimitives.WriteInt64LittleEndian(tail.AsSpan(32), count);
        BinaryPrimitives.WriteInt64LittleEndian(tail.AsSpan(40), result.Count - begin);
        BinaryPrimitives.WriteInt64LittleEndian(tail.AsSpan(48), begin);
        BinaryPrimitives.WriteUInt32LittleEndian(tail.AsSpan(56), 0x07064b50);
        BinaryPrimitives.WriteInt64LittleEndian(tail.AsSpan(64), result.Count);
        BinaryPrimitives.WriteUInt32LittleEndian(tail.AsSpan(72), 1);
        BinaryPrimitives.WriteUInt32LittleEndian(tail.AsSpan(76), 0x06054b50);
        tail.AsSpan(84, 14).Fill(0xff);
        tail.AsSpan(96, 2).Clear();
        return [.. result, .. tail];
    }
}
