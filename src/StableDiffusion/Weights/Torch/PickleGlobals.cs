using System.Collections.Frozen;

namespace StableDiffusion.Weights.Torch;

/// <summary>
/// Every class and function that a pickle may name. Naming any other one is an error, before anything is made of it: a file of weights
/// has no need of it, and what else reads the file may run it.
/// </summary>
internal static class PickleGlobals
{
    // Modules whose functions run programs, code or whatever the file says, or reach for files and the network.
    private static readonly FrozenSet<string> HarmfulModules = FrozenSet.ToFrozenSet(
    [
        "os", "posix", "nt", "subprocess", "commands", "popen2", "pty", "sys", "builtins", "runpy", "shutil", "socket", "webbrowser", "platform", "ctypes",
        "importlib", "imp", "pickle", "_pickle", "cPickle", "marshal", "shelve", "types", "code", "codeop", "pdb", "bdb", "cProfile", "profile", "trace",
        "timeit", "operator", "_operator", "functools", "_functools", "itertools", "asyncio", "multiprocessing", "threading", "_thread", "signal", "tempfile",
        "pathlib", "io", "_io", "zipfile", "tarfile", "urllib", "http", "httplib", "requests", "ftplib", "smtplib", "telnetlib", "ssl", "pip", "setuptools", "distutils",
        "venv", "ensurepip", "idlelib", "lib2to3", "doctest", "unittest", "site", "sysconfig", "inspect", "gc", "resource", "fcntl", "mmap", "winreg",
        "_winreg", "msvcrt", "logging", "sqlite3", "dill", "cloudpickle", "joblib", "pandas",
    ]);

    private static readonly FrozenDictionary<string, (PickleRole Role, WeightDType? DType)> Known = Make();

    // Classes of training frameworks, whose objects lie beside the weights in a training checkpoint. Only packages of plain classes: no
    // package here may have a function that runs what it is given.
    private static readonly string[] PlaceholderPackages =
    [
        "pytorch_lightning.callbacks.", "lightning.pytorch.callbacks.", "torch.optim.", "omegaconf.",
    ];

    /// <summary>The global that a pickle names.</summary>
    /// <param name="path">The file, for messages.</param>
    /// <param name="module">Its module, in the spelling of Python 2 or 3.</param>
    /// <param name="name">Its name in the module.</param>
    /// <exception cref="InvalidWeightsException">It is not on the list; the message names it.</exception>
    public static PickleGlobal Resolve(string path, string module, string name)
    {
        string today = module switch
        {
            "__builtin__" => "builtins",
            "copy_reg" => "copyreg",
            _ => module,
        };
        if (Known.TryGetValue($"{today}.{name}", out var known))
        {
            return new PickleGlobal(today, name, known.Role, known.DType);
        }

        if (IsClassOfAPlaceholderPackage(today, name))
        {
            return new PickleGlobal(today, name, PickleRole.Placeholder);
        }

        string shown = SafetensorsHeader.Quote($"{module}.{name}")[1..^1];
        string harm = HarmfulModules.Contains(today.Split('.', 2)[0])
            ? $"asks Python to run {shown}, so it can do harm"
            : $"asks Python for {shown}, which weights have no need of and which may do harm";
        throw new InvalidWeightsException($"'{path}' {harm}; it was not loaded. Get a .safetensors file of this model.") { IsHarmful = true };
    }

    // A class in the style of Python: a module path, then one name that begins with a capital letter.
    private static bool IsClassOfAPlaceholderPackage(string module, string name)
        => name.Length > 0 && char.IsAsciiLetterUpper(name[0]) && name.All(c => char.IsAsciiLetterOrDigit(c) || c == '_')
            && Array.Exists(PlaceholderPackages, package => (module + ".").StartsWith(package, StringComparison.Ordinal));

    private static FrozenDictionary<string, (PickleRole Role, WeightDType? DType)> Make()
    {
        Dictionary<string, (PickleRole, WeightDType?)> known = new(StringComparer.Ordinal);
        Add(PickleRole.Dict, "collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict");
        Add(PickleRole.List, "builtins.list", "builtins.set", "builtins.frozenset", "collections.deque");
        Add(PickleRole.Tuple, "torch.Size", "builtins.tuple");
        Add(PickleRole.Tensor, "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2");
        Add(PickleRole.TensorWithDType, "torch._utils._rebuild_tensor_v3");
        Add(PickleRole.Parameter, "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer");
        Add(PickleRole.TensorOfType, "torch._tensor._rebuild_from_type_v2", "torch._tensor._rebuild_from_type");
        Add(PickleRole.Placeholder,
            "torch.Tensor", "torch.FloatTensor", "torch.HalfTensor", "torch.cuda.FloatTensor", "torch.cuda.HalfTensor", "torch.device",
            "torch.torch_version.TorchVersion", "torch.nn.modules.container.ParameterDict", "torch.serialization._get_layout",
            "numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.scalar", "numpy.core.multiarray._reconstruct", "numpy._core.multiarray.scalar",
            "numpy._core.multiarray._reconstruct", "_codecs.encode", "builtins.object", "builtins.int", "builtins.float", "builtins.bool", "builtins.str",
            "builtins.bytes", "builtins.bytearray", "builtins.complex", "builtins.slice", "builtins.range", "copyreg._reconstructor", "argparse.Namespace",
            "types.SimpleNamespace", "typing.Any", "datetime.datetime", "datetime.timedelta", "datetime.date", "pathlib.PosixPath", "pathlib.WindowsPath",
            "pathlib.PurePosixPath", "pathlib.PureWindowsPath", "pytorch_lightning.utilities.parsing.AttributeDict",
            "pytorch_lightning.utilities.enums.GradClipAlgorithmType", "lightning.fabric.utilities.data.AttributeDict");
        AddTypes("Storage", PickleRole.Storage, ["torch", "torch.cuda", "torch.storage"],
            ("Float", WeightDType.Float32), ("Half", WeightDType.Float16), ("BFloat16", WeightDType.BFloat16), ("Double", WeightDType.Float64),
            ("Long", WeightDType.Int64), ("Int", WeightDType.Int32), ("Short", WeightDType.Int16), ("Char", WeightDType.Int8), ("Byte", WeightDType.UInt8),
            ("Bool", WeightDType.Boolean), ("Untyped", null));
        AddTypes("", PickleRole.DType, ["torch"],
            ("float32", WeightDType.Float32), ("float16", WeightDType.Float16), ("bfloat16", WeightDType.BFloat16), ("float64", WeightDType.Float64),
            ("int64", WeightDType.Int64), ("int32", WeightDType.Int32), ("int16", WeightDType.Int16), ("int8", WeightDType.Int8), ("uint8", WeightDType.UInt8),
            ("uint16", WeightDType.UInt16), ("uint32", WeightDType.UInt32), ("uint64", WeightDType.UInt64), ("bool", WeightDType.Boolean),
            ("float8_e4m3fn", WeightDType.Float8E4M3), ("float8_e5m2", WeightDType.Float8E5M2));
        return known.ToFrozenDictionary(StringComparer.Ordinal);

        void Add(PickleRole role, params ReadOnlySpan<string> names)
        {
            foreach (string name in names)
            {
                known.Add(name, (role, null));
            }
        }

        void AddTypes(string suffix, PickleRole role, string[] modules, params (string Name, WeightDType? DType)[] types)
        {
            foreach (string module in modules)
            {
                foreach ((string name, WeightDType? dtype) in types)
                {
                    known.Add($"{module}.{name}{suffix}", (role, dtype));
                }
            }
        }
    }
}
