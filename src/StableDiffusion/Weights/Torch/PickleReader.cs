using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;

namespace StableDiffusion.Weights.Torch;

/// <summary>
/// Reads Python's pickles, protocols 0 to 5, without running anything: classes and functions are names on a list
/// (<see cref="PickleGlobals"/>), and calling one gives plain data or a placeholder. The machine is a stack and a memo, described in
/// Python's pickletools. It has no recursion, and makes at most one value per opcode, so a hostile pickle costs no more memory than a
/// fixed multiple of its length.
/// </summary>
internal sealed class PickleReader
{
    private const int MaxValues = 4_000_000;
    private const int MaxIntegerBytes = 64;

    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly PickleInput input;
    private readonly Func<PickleGlobal, PickleTuple, object?> call;
    private readonly Func<object?, object?> load;
    private readonly List<object?> stack = [];
    private readonly List<int> marks = [];
    private readonly Dictionary<ulong, object?> memo = [];
    private int values;

    private PickleReader(PickleInput input, Func<PickleGlobal, PickleTuple, object?> call, Func<object?, object?> load)
    {
        this.input = input;
        this.call = call;
        this.load = load;
    }

    /// <summary>Reads one pickle; the input then stands behind it.</summary>
    /// <param name="input">Where the pickle begins.</param>
    /// <param name="call">Gives the value of calling a global on the list, whose role says which it is.</param>
    /// <param name="load">Gives the value of a persistent id, by which a pickle refers to what is stored elsewhere.</param>
    /// <exception cref="InvalidWeightsException">The pickle is damaged, over a limit or names a global that is not on the list.</exception>
    public static object? Read(PickleInput input, Func<PickleGlobal, PickleTuple, object?> call, Func<object?, object?> load)
        => new PickleReader(input, call, load).Run();

    private object? Run()
    {
        for (byte opcode = input.ReadByte(); opcode != '.'; opcode = input.ReadByte())
        {
            if (opcode < 0x80)
            {
                Execute((char)opcode);
            }
            else
            {
                ExecuteBinary(opcode);
            }
        }

        return Pop();
    }

    // The opcodes of protocols 0 and 1, and bytes of protocol 3.
    private void Execute(char opcode)
    {
        switch (opcode)
        {
            case '(': marks.Add(Count(stack.Count)); break;
            case '0': PopOrUnmark(); break;
            case '1': PopToMark(); break;
            case '2': Push(Peek()); break;
            case 'N': Push(null); break;
            case 'I': Push(Line() switch { "00" => false, "01" => true, var text => Integer(text) }); break;
            case 'L': Push(Integer(Line().TrimEnd('L'))); break;
            case 'F': Push(Float(Line())); break;
            case 'J': Push((long)(int)input.ReadUnsigned(4)); break;
            case 'K': Push((long)input.ReadByte()); break;
            case 'M': Push((long)input.ReadUnsigned(2)); break;
            case 'G': Push(BinaryPrimitives.ReadDoubleBigEndian(input.ReadBytes(8))); break;
            case 'S': Push(Quoted(Line())); break;
            case 'T': Push(OldText(input.ReadBytes(Length32Signed()))); break;
            case 'U': Push(OldText(input.ReadBytes(input.ReadByte()))); break;
            case 'V': Push(Escaped(Line(), "uU")); break;
            case 'X': Push(Text(input.ReadBytes(input.ReadUnsigned(4)))); break;
            case 'B': Push(input.ReadBytes(input.ReadUnsigned(4))); break;
            case 'C': Push(input.ReadBytes(input.ReadByte())); break;
            case '}': Push(new PickleDict()); break;
            case ']': Push(new List<object?>()); break;
            case ')': Push(PickleTuple.Empty); break;
            case 't': Push(new PickleTuple(PopToMark())); break;
            case 'l': Push(new List<object?>(PopToMark())); break;
            case 'd': PushDict(PopToMark()); break;
            case 'a': Append([Pop()]); break;
            case 'e': Append(PopToMark()); break;
            case 's': SetItem(); break;
            case 'u': SetItems(PopToMark()); break;
            case 'p': Memorize(MemoKey(Line())); break;
            case 'q': Memorize(input.ReadByte()); break;
            case 'r': Memorize(input.ReadUnsigned(4)); break;
            case 'g': Recall(MemoKey(Line())); break;
            case 'h': Recall(input.ReadByte()); break;
            case 'j': Recall(input.ReadUnsigned(4)); break;
            case 'c': Push(Global(Line(), Line())); break;
            case 'i': Push(Call(Global(Line(), Line()), new PickleTuple(PopToMark()))); break;
            case 'o': Make(PopToMark()); break;
            case 'R': Reduce(); break;
            case 'b': Pop(); Peek(); break; // The state of an object that is data or a placeholder; it has no say in the tensors.
            case 'P': Push(load(Line())); break;
            case 'Q': Push(load(Pop())); break;
            default: throw input.Bad($"it has the unknown opcode {(int)opcode} at byte {input.Position - 1}");
        }
    }

    // The opcodes of protocols 2 to 5.
    private void ExecuteBinary(byte opcode)
    {
        switch (opcode)
        {
            case 0x80: CheckProtocol(input.ReadByte()); break;
            case 0x81: Reduce(); break; // NEWOBJ: a class and its arguments
            case 0x82 or 0x83 or 0x84: throw input.Bad("it uses Python's extension registry, which weights have no need of");
            case 0x85: Push(new PickleTuple([Pop()])); break;
            case 0x86: Push(Reversed(Pop(), Pop())); break;
            case 0x87: Push(Reversed(Pop(), Pop(), Pop())); break;
            case 0x88: Push(true); break;
            case 0x89: Push(false); break;
            case 0x8a: Push(Integer(input.ReadByte())); break;
            case 0x8b: Push(Integer(Length32Signed())); break;
            case 0x8c: Push(Text(input.ReadBytes(input.ReadByte()))); break;
            case 0x8d: Push(Text(input.ReadBytes(input.ReadUnsigned(8)))); break;
            case 0x8e or 0x96: Push(input.ReadBytes(input.ReadUnsigned(8))); break;
            case 0x8f: Push(new List<object?>()); break;
            case 0x90: Append(PopToMark()); break;
            case 0x91: Push(new List<object?>(PopToMark())); break;
            case 0x92: Pop(); Reduce(); break; // NEWOBJ_EX: keyword arguments, arguments, class
            case 0x93: GlobalFromStack(); break;
            case 0x94: Memorize((ulong)memo.Count); break;
            case 0x95: input.ReadUnsigned(8); break; // A frame is a hint for reading ahead.
            case 0x97 or 0x98: throw input.Bad("it refers to buffers outside the file");
            default: throw input.Bad($"it has the unknown opcode {opcode} at byte {input.Position - 1}");
        }
    }

    private void CheckProtocol(byte protocol)
    {
        if (protocol > 5)
        {
            throw input.Bad($"it is of protocol {protocol}, and 0 to 5 are known");
        }
    }

    private T Count<T>(T value) => ++values <= MaxValues ? value : throw input.Bad($"it has over {MaxValues} values");

    private void Push(object? value) => stack.Add(Count(value));

    private int Bottom => marks.Count > 0 ? marks[^1] : 0;

    private object? Peek() => stack.Count > Bottom ? stack[^1] : throw input.Bad("it takes a value where there is none");

    private object? Pop()
    {
        object? value = Peek();
        stack.RemoveAt(stack.Count - 1);
        return value;
    }

    private void PopOrUnmark()
    {
        if (marks.Count > 0 && stack.Count == Bottom)
        {
            marks.RemoveAt(marks.Count - 1);
        }
        else
        {
            Pop();
        }
    }

    private object?[] PopToMark()
    {
        if (marks.Count == 0)
        {
            throw input.Bad("it goes back to a mark where there is none");
        }

        int begin = Bottom;
        object?[] items = CollectionsMarshal.AsSpan(stack)[begin..].ToArray();
        stack.RemoveRange(begin, stack.Count - begin);
        marks.RemoveAt(marks.Count - 1);
        return items;
    }

    private static PickleTuple Reversed(params object?[] popped)
    {
        Array.Reverse(popped);
        return new PickleTuple(popped);
    }

    private void Memorize(ulong key)
    {
        memo[key] = Count(Peek());
    }

    private void Recall(ulong key) => Push(memo.TryGetValue(key, out object? value) ? value : throw input.Bad($"it recalls the value {key}, which it never stored"));

    private ulong MemoKey(string line)
        => uint.TryParse(line, NumberStyles.None, CultureInfo.InvariantCulture, out uint key) ? key : throw input.Bad("it has a memo key that is no number");

    private void Append(ReadOnlySpan<object?> items)
    {
        if (Peek() is List<object?> list)
        {
            list.AddRange(items);
        }
        else if (Peek() is not PickleObject)
        {
            throw input.Bad("it appends to what is no list");
        }
    }

    private void SetItem()
    {
        object? value = Pop();
        SetItems([Pop(), value]);
    }

    private void SetItems(ReadOnlySpan<object?> items)
    {
        if (Peek() is PickleDict dict)
        {
            AddPairs(dict, items);
        }
        else if (Peek() is not PickleObject)
        {
            throw input.Bad("it sets entries of what is no dict");
        }
    }

    private void PushDict(ReadOnlySpan<object?> items)
    {
        PickleDict dict = new();
        AddPairs(dict, items);
        Push(dict);
    }

    private void AddPairs(PickleDict dict, ReadOnlySpan<object?> items)
    {
        if (items.Length % 2 != 0)
        {
            throw input.Bad("it has a key without a value");
        }

        for (int i = 0; i < items.Length; i += 2)
        {
            dict.Items.Add(new KeyValuePair<object?, object?>(items[i], items[i + 1]));
        }
    }

    private PickleGlobal Global(string module, string name) => PickleGlobals.Resolve(input.Path, module, name);

    private void GlobalFromStack()
    {
        object? name = Pop();
        object? module = Pop();
        Push(module is string m && name is string n ? Global(m, n) : throw input.Bad("it names a global by what is no text"));
    }

    private void Reduce()
    {
        object? arguments = Pop();
        object? function = Pop();
        Push(Call(function, arguments as PickleTuple ?? throw input.Bad("it calls with arguments that are no tuple")));
    }

    private void Make(object?[] parts)
        => Push(parts.Length > 0 ? Call(parts[0], new PickleTuple(parts[1..])) : throw input.Bad("it makes an object of no class"));

    private object? Call(object? function, PickleTuple arguments)
        => function is PickleGlobal global ? call(global, arguments) : throw input.Bad("it calls what is no class or function");

    private string Line() => input.ReadLine();

    private ulong Length32Signed()
    {
        int length = (int)input.ReadUnsigned(4);
        return length >= 0 ? (ulong)length : throw input.Bad("it has a negative length");
    }

    private string Text(byte[] utf8)
    {
        try
        {
            return StrictUtf8.GetString(utf8);
        }
        catch (ArgumentException)
        {
            throw input.Bad("it has text that is not valid UTF-8");
        }
    }

    // Python 2 did not tell text from bytes.
    private static string OldText(byte[] bytes) => System.Text.Unicode.Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : Encoding.Latin1.GetString(bytes);

    private object Integer(ulong bytes)
    {
        if (bytes > MaxIntegerBytes)
        {
            throw input.Bad($"it has a whole number of {bytes} bytes");
        }

        return Narrow(new BigInteger(input.ReadBytes(bytes)));
    }

    private object Integer(string text)
        => text.Length <= 2 * MaxIntegerBytes && BigInteger.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out BigInteger value)
            ? Narrow(value)
            : throw input.Bad("it has a whole number that cannot be read");

    private static object Narrow(BigInteger value) => value >= long.MinValue && value <= long.MaxValue ? (object)(long)value : value;

    private double Float(string text) => text switch
    {
        "inf" => double.PositiveInfinity,
        "-inf" => double.NegativeInfinity,
        _ => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) ? value : throw input.Bad("it has a number that cannot be read"),
    };

    private string Quoted(string line)
        => line.Length >= 2 && line[0] is '\'' or '"' && line[^1] == line[0] ? Escaped(line[1..^1], "xn\\'\"") : throw input.Bad("it has text without quotes");

    // \n, \x41, \u0041 and the like; names in weights have none of them, so what else Python knows is left as it is.
    private string Escaped(string line, string escapes)
    {
        StringBuilder text = new(line.Length);
        for (int i = 0; i < line.Length; i++)
        {
            int digits = line[i] != '\\' || i + 1 == line.Length || !escapes.Contains(line[i + 1]) ? -1 : line[i + 1] switch { 'x' => 2, 'u' => 4, 'U' => 8, _ => 0 };
            if (digits < 0)
            {
                text.Append(line[i]);
                continue;
            }

            i++;
            if (digits == 0)
            {
                text.Append(line[i] == 'n' ? '\n' : line[i]);
            }
            else if (i + digits < line.Length && int.TryParse(line.AsSpan(i + 1, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int rune) && Rune.IsValid(rune))
            {
                text.Append(new Rune(rune).ToString());
                i += digits;
            }
            else
            {
                throw input.Bad("it has an escape that cannot be read");
            }
        }

        return text.ToString();
    }
}
