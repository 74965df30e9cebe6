using System.Collections.Immutable;
using System.Globalization;

namespace StableDiffusion.Weights.Torch;

/// <summary>A storage of a PyTorch file: a run of equal elements that tensors are views of.</summary>
/// <param name="Key">Its name in the file.</param>
/// <param name="ElementBytes">Bytes of an element, by which the legacy format counts.</param>
internal sealed record TorchStorage(string Key, int ElementBytes);

/// <summary>What a persistent id stands for: a storage, or a part of one, as elements of a type.</summary>
/// <param name="Storage">The whole storage.</param>
/// <param name="DType">Element type; null for a storage of bytes, whose tensors say what they are.</param>
/// <param name="Offset">Elements of the storage before this part.</param>
/// <param name="Count">Elements of this part (bytes where there is no type).</param>
internal sealed record TorchStorageView(TorchStorage Storage, WeightDType? DType, long Offset, long Count);

/// <summary>A tensor as the pickle describes it: a strided view of a storage. Nothing of it has been checked against the file.</summary>
/// <param name="View">The storage.</param>
/// <param name="DType">Element type.</param>
/// <param name="Offset">Elements of the view before the first one.</param>
/// <param name="Shape">Dimensions, outermost first.</param>
/// <param name="Strides">Elements from one index to the next, for each dimension.</param>
internal sealed record TorchTensor(TorchStorageView View, WeightDType DType, long Offset, ImmutableArray<long> Shape, ImmutableArray<long> Strides);

/// <summary>What the classes and functions of PyTorch that a pickle may call give (torch/_utils.py), and its references to storages.</summary>
internal sealed class TorchPickle(string path)
{
    // PyTorch's own limit.
    private const int MaxDimensions = 64;
    private const int MaxCopied = 4_000_000;

    private readonly Dictionary<string, TorchStorage> storages = new(StringComparer.Ordinal);
    private int copied;

    /// <summary>The storages that were referred to, by key.</summary>
    public IReadOnlyDictionary<string, TorchStorage> Storages => storages;

    /// <summary>Reads one pickle.</summary>
    /// <exception cref="InvalidWeightsException">It is damaged or names what weights have no need of.</exception>
    public object? Read(PickleInput input) => PickleReader.Read(input, Call, Load);

    /// <summary>Text for a plain value (numbers, truth values, short text, NumPy's numbers), or null for anything else.</summary>
    public static string? TextOf(object? value)
    {
        const int Longest = 1000;
        return value switch
        {
            string text when text.Length <= Longest => text,
            bool truth => truth ? "true" : "false",
            long or double or System.Numerics.BigInteger => Convert.ToString(value, CultureInfo.InvariantCulture),
            PickleObject { Class.Name: "scalar", Arguments.Items: [PickleObject { Arguments.Items: [string dtype, ..] }, var bytes] } => NumpyText(dtype, bytes),
            _ => null,
        };
    }

    private object? Call(PickleGlobal function, PickleTuple arguments)
    {
        object?[] items = arguments.Items;
        return function.Role switch
        {
            PickleRole.Placeholder => new PickleObject(function, arguments),
            PickleRole.Dict => MakeDict(items),
            PickleRole.List => items is [List<object?> list] ? list : [],
            PickleRole.Tuple => items is [PickleTuple tuple] ? tuple : items is [List<object?> list] ? new PickleTuple(Copy(list)) : PickleTuple.Empty,
            PickleRole.Tensor when items is [TorchStorageView view, long offset, PickleTuple shape, PickleTuple strides, ..] => MakeTensor(view, view.DType, offset, shape, strides),
            PickleRole.TensorWithDType when items is [TorchStorageView view, long offset, PickleTuple shape, PickleTuple strides, _, _, PickleGlobal { DType: { } dtype }, ..] =>
                MakeTensor(view, dtype, offset, shape, strides),
            PickleRole.Parameter when items is [TorchTensor tensor, ..] => tensor,
            PickleRole.TensorOfType when items is [PickleGlobal { Role: PickleRole.Tensor or PickleRole.TensorWithDType or PickleRole.Parameter } inner, _, PickleTuple made, ..] => Call(inner, made),
            _ => throw Bad($"it calls {function.Module}.{function.Name} in a way that is not known"),
        };
    }

    // ('storage', type, key, device, elements), and in the legacy format also None or (key of the view, offset, elements).
    private TorchStorageView Load(object? id)
    {
        if (id is not PickleTuple { Items: ["storage", PickleGlobal { Role: PickleRole.Storage } type, string key, _, long count, .. var rest] })
        {
            throw Bad(id is PickleTuple { Items: ["module", ..] }
                ? "it holds a whole Python module and not a dict of tensors"
                : "it refers to a storage in a way that is not known");
        }

        if (!storages.TryGetValue(key, out TorchStorage? storage))
        {
            storages.Add(key, storage = new TorchStorage(key, type.DType?.Size() ?? 1));
        }

        return rest is [PickleTuple { Items: [_, long offset, long part] }]
            ? new TorchStorageView(storage, type.DType, offset, part)
            : new TorchStorageView(storage, type.DType, 0, count);
    }

    private PickleDict MakeDict(object?[] arguments)
    {
        switch (arguments)
        {
            case [PickleDict same]:
                return same;
            case [List<object?> pairs]:
                PickleDict dict = new();
                foreach (object? pair in Copy(pairs))
                {
                    object?[]? two = pair is PickleTuple tuple ? tuple.Items : pair is List<object?> { Count: 2 } list ? [.. list] : null;
                    dict.Items.Add(two is { Length: 2 } ? new KeyValuePair<object?, object?>(two[0], two[1]) : throw Bad("it makes a dict of what are no pairs"));
                }

                return dict;
            default:
                return new PickleDict(); // Of a defaultdict: the class of its values comes first.
        }
    }

    // A list or shape may be copied many times by few bytes of pickle, so copies have a limit of their own.
    private object?[] Copy(List<object?> list)
    {
        CountCopied(list.Count);
        return [.. list];
    }

    private void CountCopied(int count)
    {
        copied += Math.Min(count, MaxCopied);
        if (copied > MaxCopied)
        {
            throw Bad($"it copies over {MaxCopied} values");
        }
    }

    private TorchTensor MakeTensor(TorchStorageView view, WeightDType? dtype, long offset, PickleTuple shape, PickleTuple strides)
    {
        if (shape.Items.Length != strides.Items.Length || shape.Items.Length > MaxDimensions)
        {
            throw Bad($"it has a tensor of {shape.Items.Length} dimensions and {strides.Items.Length} strides");
        }

        CountCopied(2 * shape.Items.Length);
        return new TorchTensor(view, dtype ?? WeightDType.UInt8, offset, Numbers(shape), Numbers(strides));
    }

    private ImmutableArray<long> Numbers(PickleTuple tuple)
        => [.. tuple.Items.Select(item => item as long? ?? throw Bad("it has a tensor whose shape or strides are no whole numbers"))];

    // A NumPy number: "f8" and its bytes, which protocol 2 writes as Latin-1 text to encode.
    private static string? NumpyText(string dtype, object? value)
    {
        byte[]? bytes = value switch
        {
            byte[] { Length: <= 8 } raw => raw,
            PickleObject { Class.Name: "encode", Arguments.Items: [string { Length: <= 8 } text, ..] } => System.Text.Encoding.Latin1.GetBytes(text),
            _ => null,
        };
        return (dtype, bytes?.Length) switch
        {
            ("f8", 8) => BitConverter.ToDouble(bytes!).ToString(CultureInfo.InvariantCulture),
            ("f4", 4) => BitConverter.ToSingle(bytes!).ToString(CultureInfo.InvariantCulture),
            ("i8", 8) => BitConverter.ToInt64(bytes!).ToString(CultureInfo.InvariantCulture),
            ("i4", 4) => BitConverter.ToInt32(bytes!).ToString(CultureInfo.InvariantCulture),
            _ => null,
        };
    }

    private InvalidWeightsException Bad(string why) => SafetensorsHeader.Bad(path, why);
}
