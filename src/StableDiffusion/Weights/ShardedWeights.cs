using System.Text.Json;

namespace StableDiffusion.Weights;

/// <summary>
/// Tensors spread over several files, listed in a <c>*.index.json</c> whose <c>weight_map</c> gives the file of each
/// tensor (the format of diffusers and transformers). The files are safetensors or PyTorch's own. Opening checks every shard and that each has what the index promises.
/// </summary>
public sealed class ShardedWeights : IWeightSource
{
    private readonly Dictionary<string, IWeightSource> shardOf;
    private readonly IReadOnlyList<IWeightSource> shards;

    private ShardedWeights(string path, Dictionary<string, IWeightSource> shardOf, IReadOnlyList<IWeightSource> shards)
    {
        Location = path;
        this.shardOf = shardOf;
        this.shards = shards;
        string[] names = [.. shardOf.Keys];
        Array.Sort(names, StringComparer.Ordinal);
        Names = names;
    }

    /// <summary>The path of the index file.</summary>
    public string Location { get; }

    /// <summary>Names of all tensors in the index, in ordinal order.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>Opens an index and all shards it names, which lie beside it.</summary>
    /// <exception cref="InvalidWeightsException">The index or a shard is missing or malformed, or a shard lacks a listed tensor.</exception>
    public static ShardedWeights Open(string indexPath)
    {
        ArgumentException.ThrowIfNullOrEmpty(indexPath);
        Dictionary<string, string> map = ReadWeightMap(indexPath);
        string folder = Path.GetDirectoryName(indexPath) ?? "";
        Dictionary<string, IWeightSource> shards = new(StringComparer.Ordinal);
        Dictionary<string, IWeightSource> shardOf = new(map.Count, StringComparer.Ordinal);
        try
        {
            foreach ((string tensor, string fileName) in map)
            {
                if (!shards.TryGetValue(fileName, out IWeightSource? shard))
                {
                    shard = OpenShard(indexPath, folder, fileName);
                    shards.Add(fileName, shard);
                }

                if (shard.Find(tensor, []) is null)
                {
                    throw new InvalidWeightsException($"'{indexPath}' says that '{shard.Location}' has the tensor {SafetensorsHeader.Quote(tensor)}, but it does not.");
                }

                shardOf.Add(tensor, shard);
            }

            return new ShardedWeights(indexPath, shardOf, [.. shards.Values]);
        }
        catch
        {
            foreach (IWeightSource shard in shards.Values)
            {
                shard.Dispose();
            }

            throw;
        }
    }

    /// <inheritdoc/>
    public WeightInfo? Find(string name, ReadOnlySpan<long> expectedShape)
        => shardOf.TryGetValue(name, out IWeightSource? shard) ? shard.Find(name, expectedShape) : null;

    /// <inheritdoc/>
    public void Read(string name, WeightInfo info, Span<byte> destination)
    {
        if (!shardOf.TryGetValue(name, out IWeightSource? shard))
        {
            throw new InvalidWeightsException($"'{Location}' has no tensor {SafetensorsHeader.Quote(name)}.");
        }

        shard.Read(name, info, destination);
    }

    /// <inheritdoc/>
    public string Describe(string name) => shardOf.TryGetValue(name, out IWeightSource? shard) ? shard.Describe(name) : Location;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (IWeightSource shard in shards)
        {
            shard.Dispose();
        }
    }

    private static IWeightSource OpenShard(string indexPath, string folder, string fileName)
    {
        // A hostile index must not make us open files elsewhere.
        if (fileName.Length == 0 || fileName is "." or ".." || fileName.AsSpan().ContainsAny('/', '\\', ':') || fileName.Contains('\0'))
        {
            throw SafetensorsHeader.Bad(indexPath, $"it names the shard {SafetensorsHeader.Quote(fileName)}, which is not a file name in its own folder");
        }

        string path = Path.Combine(folder, fileName);
        if (!File.Exists(path))
        {
            throw SafetensorsHeader.Bad(indexPath, $"its shard {SafetensorsHeader.Quote(fileName)} is missing from the folder");
        }

        return WeightFile.OpenFile(path);
    }

    private static Dictionary<string, string> ReadWeightMap(string indexPath)
    {
        Dictionary<string, string> map = new(StringComparer.Ordinal);
        try
        {
            using FileStream stream = File.OpenRead(indexPath);
            if (stream.Length > SafetensorsFile.MaxHeaderBytes)
            {
                throw SafetensorsHeader.Bad(indexPath, $"it has {stream.Length} bytes (at most {SafetensorsFile.MaxHeaderBytes} are allowed)");
            }

            using JsonDocument document = JsonDocument.Parse(stream);
            if (document.RootElement.ValueKind != JsonValueKind.Object
                || !document.RootElement.TryGetProperty("weight_map", out JsonElement weightMap)
                || weightMap.ValueKind != JsonValueKind.Object)
            {
                throw SafetensorsHeader.Bad(indexPath, "it has no object 'weight_map'");
            }

            foreach (JsonProperty entry in weightMap.EnumerateObject())
            {
                if (entry.Value.ValueKind != JsonValueKind.String)
                {
                    throw SafetensorsHeader.Bad(indexPath, $"its entry for the tensor {SafetensorsHeader.Quote(entry.Name)} is not a file name");
                }

                if (!map.TryAdd(entry.Name, entry.Value.GetString()!))
                {
                    throw SafetensorsHeader.Bad(indexPath, $"the tensor {SafetensorsHeader.Quote(entry.Name)} is listed twice");
                }
            }
        }
        catch (Exception failure) when (failure is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new InvalidWeightsException($"'{indexPath}' cannot be loaded: there is no such file.", failure);
        }
        catch (Exception failure) when (failure is JsonException or InvalidOperationException)
        {
            throw new InvalidWeightsException($"'{indexPath}' cannot be loaded: it is not valid JSON.", failure);
        }
        catch (Exception failure) when (failure is UnauthorizedAccessException or (IOException and not InvalidWeightsException))
        {
            throw new InvalidWeightsException($"'{indexPath}' cannot be loaded: it cannot be opened for reading.", failure);
        }

        return map;
    }
}
