namespace StableDiffusion.Weights.Torch;

// What a pickle is read into. None is null, and numbers, text and bytes are bool, long, BigInteger, double, string and byte[]; lists and
// sets are List<object?>. Nothing else can come out, whatever a file asks for.

/// <summary>A tuple.</summary>
internal sealed class PickleTuple(object?[] items)
{
    /// <summary>The empty tuple.</summary>
    public static readonly PickleTuple Empty = new([]);

    /// <summary>Its entries.</summary>
    public object?[] Items => items;
}

/// <summary>A dict of any kind. Entries are kept as they come: nothing is hashed, so no file can make that slow.</summary>
internal sealed class PickleDict
{
    /// <summary>Keys and values in order; of equal keys, the last one counts.</summary>
    public List<KeyValuePair<object?, object?>> Items { get; } = [];

    /// <summary>The value of a key that is text, or null.</summary>
    public object? this[string key] => Items.FindLast(item => item.Key is string text && text == key).Value;
}

/// <summary>A class or function that a pickle names. It is a name and a role, never a type or a method.</summary>
internal sealed record PickleGlobal(string Module, string Name, PickleRole Role, WeightDType? DType = null);

/// <summary>An object of a class that has no part in weights: what it was made from, and nothing that can run.</summary>
internal sealed record PickleObject(PickleGlobal Class, PickleTuple Arguments);

/// <summary>What calling a global gives.</summary>
internal enum PickleRole
{
    /// <summary>A <see cref="PickleObject"/>.</summary>
    Placeholder,

    /// <summary>A dict.</summary>
    Dict,

    /// <summary>A list or set.</summary>
    List,

    /// <summary>The tuple that is its argument.</summary>
    Tuple,

    /// <summary>A storage type: never called, but named by storages.</summary>
    Storage,

    /// <summary>An element type: never called.</summary>
    DType,

    /// <summary>torch._utils._rebuild_tensor and _v2.</summary>
    Tensor,

    /// <summary>torch._utils._rebuild_tensor_v3.</summary>
    TensorWithDType,

    /// <summary>torch._utils._rebuild_parameter and what else gives the tensor that is its first argument.</summary>
    Parameter,

    /// <summary>torch._tensor._rebuild_from_type_v2.</summary>
    TensorOfType,
}
