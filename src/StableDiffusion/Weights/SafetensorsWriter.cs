using System.Buffers.Binary;
using System.Runtime.ExceptionServices;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using StableDiffusion.Imaging;

namespace StableDiffusion.Weights;

/// <summary>
/// Writes safetensors files (github.com/huggingface/safetensors). Tensors are streamed, so that writing needs no more memory than the
/// largest of them, and the file appears complete or not at all: it is written under a temporary name in the same folder and then
/// renamed.
/// </summary>
public static class SafetensorsWriter
{
    /// <summary>Fills a tensor's bytes, packed and row-major in the type of <paramref name="info"/>.</summary>
    /// <param name="name">Key of the tensor.</param>
    /// <param name="info">Type and shape.</param>
    /// <param name="destination">Exactly <see cref="WeightInfo.ByteCount"/> bytes.</param>
    public delegate void TensorReader(string name, WeightInfo info, Span<byte> destination);

    /// <summary>Writes all tensors of a source.</summary>
    /// <param name="path">The file to write; one that is there is replaced.</param>
    /// <param name="source">A source of stored tensors.</param>
    /// <param name="metadata">Free text for "__metadata__"; null or empty for none.</param>
    /// <param name="cancellation">Stops between two tensors; then there is no new file.</param>
    /// <exception cref="InvalidWeightsException">A tensor of the source cannot be read or is over 2 GB.</exception>
    /// <exception cref="IOException">The file cannot be written; says why.</exception>
    /// <exception cref="ArgumentException">The source makes tensors up and has no list of names.</exception>
    public static void Write(string path, IWeightSource source, IReadOnlyDictionary<string, string>? metadata = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        if (source.Names is not { } names)
        {
            throw new ArgumentException($"'{source.Location}' has no list of tensors to write.", nameof(source));
        }

        Write(path, names.ToDictionary(name => name, name => source.Find(name, [])!, StringComparer.Ordinal), source.Read, metadata, cancellation);
    }

    /// <summary>
    /// Writes tensors in an order that depends on nothing but their types and names: wide elements first, as the reference
    /// implementation does, so that every tensor is aligned, and by name within.
    /// </summary>
    /// <param name="path">The file to write; one that is there is replaced.</param>
    /// <param name="tensors">Type and shape of each tensor by name.</param>
    /// <param name="read">Called once for each tensor, in the order of the file.</param>
    /// <param name="metadata">Free text for "__metadata__"; null or empty for none.</param>
    /// <param name="cancellation">Stops between two tensors; then there is no new file.</param>
    /// <exception cref="InvalidWeightsException">A tensor cannot be read or is over 2 GB, or the header would be over its limit.</exception>
    /// <exception cref="IOException">The file cannot be written; says why.</exception>
    public static void Write(string path, IReadOnlyDictionary<string, WeightInfo> tensors, TensorReader read, IReadOnlyDictionary<string, string>? metadata = null, CancellationToken cancellation = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(tensors);
        ArgumentNullException.ThrowIfNull(read);
        KeyValuePair<string, WeightInfo>[] ordered = [.. tensors.OrderByDescending(t => t.Value.DType.Size()).ThenBy(t => t.Value.DType).ThenBy(t => t.Key, StringComparer.Ordinal)];
        byte[] header = Header(path, ordered, metadata);
        ExceptionDispatchInfo? unreadable = null;
        try
        {
            AtomicFile.Write(path, stream =>
            {
                stream.Write(header);
                foreach ((string name, WeightInfo info) in ordered)
                {
                    cancellation.ThrowIfCancellationRequested();
                    using HostTensor tensor = new(name, info);
                    try
                    {
                        read(name, info, tensor.Bytes);
                    }
                    catch (Exception failure)
                    {
                        unreadable = ExceptionDispatchInfo.Capture(failure);
                        throw;
                    }

                    stream.Write(tensor.Bytes);
                }
            });
        }
        catch (IOException) when (unreadable is not null)
        {
            unreadable.Throw(); // What could not be read is the news, not what then could not be written.
        }
    }

    // Length, JSON, and blanks up to a multiple of 8 bytes.
    private static byte[] Header(string path, KeyValuePair<string, WeightInfo>[] ordered, IReadOnlyDictionary<string, string>? metadata)
    {
        using MemoryStream stream = new();
        stream.Write(new byte[sizeof(ulong)]);
        using (Utf8JsonWriter json = new(stream, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            WriteMetadata(json, metadata);
            long end = 0;
            foreach ((string name, WeightInfo info) in ordered)
            {
                long begin = end;
                end = checked(begin + info.ByteCount);
                json.WriteStartObject(name);
                json.WriteString("dtype", info.DType.SafetensorsName());
                WriteNumbers(json, "shape", info.Shape.AsSpan());
                WriteNumbers(json, "data_offsets", [begin, end]);
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        stream.Write(Encoding.ASCII.GetBytes(new string(' ', (int)((8 - (stream.Length % 8)) % 8))));
        byte[] header = stream.ToArray();
        long length = header.Length - sizeof(ulong);
        if (length > SafetensorsFile.MaxHeaderBytes)
        {
            throw new InvalidWeightsException($"'{path}' cannot be written: its header would have {length} bytes, and safetensors allows at most {SafetensorsFile.MaxHeaderBytes}.");
        }

        BinaryPrimitives.WriteInt64LittleEndian(header, length);
        return header;
    }

    private static void WriteMetadata(Utf8JsonWriter json, IReadOnlyDictionary<string, string>? metadata)
    {
        if (metadata is not { Count: > 0 })
        {
            return;
        }

        json.WriteStartObject("__metadata__");
        foreach ((string key, string value) in metadata.OrderBy(m => m.Key, StringComparer.Ordinal))
        {
            json.WriteString(key, value);
        }

        json.WriteEndObject();
    }

    private static void WriteNumbers(Utf8JsonWriter json, string key, ReadOnlySpan<long> numbers)
    {
        json.WriteStartArray(key);
        foreach (long number in numbers)
        {
            json.WriteNumberValue(number);
        }

        json.WriteEndArray();
    }
}
