namespace StableDiffusion.Schedulers;

/// <summary>The three operations steps are made of, on tensors of some device. Tensors have the shape of the latents.</summary>
/// <typeparam name="T">A tensor of the device.</typeparam>
public interface IStepOps<T>
{
    /// <summary>A new tensor of the shape and dtype of <paramref name="like"/>; its content is not defined.</summary>
    T Allocate(T like);

    /// <summary>target = sum of coefficients[i] * sources[i], 1 to 8 of them, summed in float64 and rounded once. The target may be a source.</summary>
    void Combine(T target, ReadOnlySpan<T> sources, ReadOnlySpan<double> coefficients);

    /// <summary>target = min(max(target, low), high).</summary>
    void Clamp(T target, double low, double high);

    /// <summary>Per sample of the batch: s = clamp(quantile(|target|, ratio), 1, maxValue), target = clamp(target, -s, s) / s.</summary>
    void DynamicThreshold(T target, double ratio, double maxValue);

    /// <summary>Gives back a tensor from <see cref="Allocate"/>.</summary>
    void Release(T tensor);
}

/// <summary>
/// Runs the step programs of one generation on the tensors of a device and keeps the slots between them. One generation, one thread.
/// Disposing gives the slots back.
/// </summary>
/// <typeparam name="T">A tensor of the device.</typeparam>
public sealed class StepExecutor<T>(IStepOps<T> ops) : IDisposable
    where T : class
{
    readonly List<T?> slots = [];

    /// <summary>Runs one step.</summary>
    /// <param name="program">From <see cref="SchedulerRun.Step"/>, in the order of the calls.</param>
    /// <param name="sample">The latents; replaced in place by the previous sample.</param>
    /// <param name="modelOutput">What the model predicted; not changed.</param>
    /// <param name="noise">A normal draw where the program draws noise, else null; not changed.</param>
    /// <returns>The predicted noise-free sample, which stays valid until the next step.</returns>
    /// <exception cref="InvalidOperationException">A step was left out, or the noise a step draws was not given.</exception>
    public T Execute(StepProgram program, T sample, T modelOutput, T? noise = null)
    {
        ArgumentNullException.ThrowIfNull(program);
        if (program.DrawsNoise && noise is null)
        {
            throw new InvalidOperationException("This step draws noise; pass a normal draw of the shape of the latents.");
        }
        foreach (StepInstruction instruction in program.Instructions)
        {
            T target = Target(instruction.Target, sample);
            switch (instruction)
            {
                case LinearCombination combination:
                    T[] sources = [.. combination.Terms.Select(term => Read(term.Source, sample, modelOutput, noise))];
                    double[] coefficients = [.. combination.Terms.Select(term => term.Coefficient)];
                    ops.Combine(target, sources, coefficients);
                    break;
                case Clamp clamp:
                    ops.Clamp(target, clamp.Low, clamp.High);
                    break;
                case DynamicThreshold threshold:
                    ops.DynamicThreshold(target, threshold.Ratio, threshold.MaxValue);
                    break;
                default:
                    throw new InvalidOperationException($"Unknown step instruction {instruction.GetType().Name}.");
            }
        }
        return Read(program.PredictedOriginal, sample, modelOutput, noise);
    }

    /// <summary>Gives the slots back.</summary>
    public void Dispose()
    {
        foreach (T? slot in slots)
        {
            if (slot is not null)
            {
                ops.Release(slot);
            }
        }
        slots.Clear();
    }

    T Target(Register register, T sample)
    {
        if (register == Register.Sample)
        {
            return sample;
        }
        int number = register.SlotNumber;
        if (number < 0)
        {
            throw new InvalidOperationException("A step may write the sample and its slots only.");
        }
        while (slots.Count <= number)
        {
            slots.Add(null);
        }
        return slots[number] ??= ops.Allocate(sample);
    }

    T Read(Register register, T sample, T modelOutput, T? noise)
    {
        T? tensor = register.Index switch
        {
            0 => sample,
            1 => modelOutput,
            2 => noise,
            _ => register.SlotNumber < slots.Count ? slots[register.SlotNumber] : null,
        };
        return tensor ?? throw new InvalidOperationException("A step reads what no step before it has written; execute the steps in order.");
    }
}
