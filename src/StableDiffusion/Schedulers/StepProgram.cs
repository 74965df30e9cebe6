namespace StableDiffusion.Schedulers;

/// <summary>
/// The name of a tensor a step works on. Sample, model output and noise are handed to each step; slots belong to the generation
/// and keep their content from step to step. All have the shape of the latents.
/// </summary>
public readonly record struct Register
{
    Register(int index) => Index = index;

    /// <summary>0 sample, 1 model output, 2 noise, 3 and up the slots.</summary>
    public int Index { get; }

    /// <summary>The latents: read by a step and, at its end, the result.</summary>
    public static Register Sample => new(0);

    /// <summary>What the model predicted. Read only.</summary>
    public static Register ModelOutput => new(1);

    /// <summary>A fresh normal draw, present where <see cref="StepProgram.DrawsNoise"/> is true. Read only.</summary>
    public static Register Noise => new(2);

    /// <summary>Slot number <paramref name="number"/>, from 0.</summary>
    public static Register Slot(int number) => new(3 + number);

    /// <summary>The number of a slot; negative for the registers handed to each step.</summary>
    public int SlotNumber => Index - 3;
}

/// <summary>One summand: a register times a number.</summary>
public readonly record struct Term(Register Source, double Coefficient);

/// <summary>One operation of a step; it writes <paramref name="Target"/>.</summary>
public abstract record StepInstruction(Register Target);

/// <summary>target = sum of coefficient * source over at most 8 terms, summed in float64 and rounded once. The target may be a source.</summary>
public sealed record LinearCombination(Register Target, IReadOnlyList<Term> Terms) : StepInstruction(Target)
{
    /// <summary>The most terms one combination has.</summary>
    public const int MaxTerms = 8;
}

/// <summary>target = min(max(target, low), high).</summary>
public sealed record Clamp(Register Target, double Low, double High) : StepInstruction(Target);

/// <summary>
/// Imagen's dynamic thresholding (arXiv:2205.11487), per sample of the batch: s = clamp(quantile(|target|, ratio), 1, max_value),
/// target = clamp(target, -s, s) / s.
/// </summary>
public sealed record DynamicThreshold(Register Target, double Ratio, double MaxValue) : StepInstruction(Target);

/// <summary>What one scheduler step does, as a short list of operations. After them the sample register holds the previous sample.</summary>
/// <param name="Instructions">The operations, in order.</param>
/// <param name="PredictedOriginal">
/// Where the predicted noise-free sample is after the step, for previews. diffusers: <c>pred_original_sample</c>, in LCM <c>denoised</c>;
/// some schedulers there form it without handing it out, or not at all.
/// </param>
/// <param name="DrawsNoise">
/// Whether the step takes one normal draw of the shape of the latents. It may be true where the noise has no weight: diffusers draws
/// there as well, and the next step's draw depends on it.
/// </param>
public sealed record StepProgram(IReadOnlyList<StepInstruction> Instructions, Register PredictedOriginal, bool DrawsNoise)
{
    /// <summary>Whether every coefficient is a finite number.</summary>
    internal bool IsFinite => Instructions.OfType<LinearCombination>().All(sum => sum.Terms.All(term => double.IsFinite(term.Coefficient)));
}

/// <summary>Collects the instructions of a step.</summary>
sealed class StepProgramBuilder
{
    readonly List<StepInstruction> instructions = [];

    /// <summary>Adds target = sum of terms; terms without weight are left out, but one always stays.</summary>
    public StepProgramBuilder Combine(Register target, params ReadOnlySpan<Term> terms)
    {
        var kept = new List<Term>(terms.Length);
        foreach (Term term in terms)
        {
            int known = kept.FindIndex(other => other.Source == term.Source);
            if (known >= 0)
            {
                kept[known] = kept[known] with { Coefficient = kept[known].Coefficient + term.Coefficient };
            }
            else
            {
                kept.Add(term);
            }
        }
        Term first = kept[0];
        kept.RemoveAll(term => term.Coefficient == 0);
        instructions.Add(new LinearCombination(target, kept.Count > 0 ? kept : [first]));
        return this;
    }

    /// <summary>Adds target = source.</summary>
    public StepProgramBuilder Copy(Register target, Register source) => Combine(target, new Term(source, 1));

    /// <summary>Adds another instruction, or nothing for null.</summary>
    public StepProgramBuilder Add(StepInstruction? instruction)
    {
        if (instruction is not null)
        {
            instructions.Add(instruction);
        }
        return this;
    }

    /// <summary>The program so far.</summary>
    public StepProgram Build(Register predictedOriginal, bool drawsNoise = false) => new(instructions, predictedOriginal, drawsNoise);
}
