using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>What the phases of one generation share: execs that report and can be cancelled, warnings, and words for faults.</summary>
internal sealed class GenerationScope(PipelineComponents parts, ProgressMeter meter, CancellationToken cancellation)
{
    private readonly List<string> _warnings = [];

    /// <summary>The model.</summary>
    public PipelineComponents Parts => parts;

    /// <summary>Where the generation stands.</summary>
    public ProgressMeter Meter => meter;

    /// <summary>Stops it.</summary>
    public CancellationToken Cancellation => cancellation;

    /// <summary>What is being done, for the text of a fault.</summary>
    public string Where { get; set; } = "";

    /// <summary>What the user should know, one sentence each.</summary>
    public IReadOnlyList<string> Warnings => _warnings;

    /// <summary>Whether ops are queued: then the UNet is a graph, and what waits for the device is done as rarely as possible.</summary>
    public bool IsQueued => parts.Device.WorksBehindCalls;

    /// <summary>Adds a warning, once.</summary>
    public void Warn(string warning)
    {
        if (!_warnings.Contains(warning))
        {
            _warnings.Add(warning);
        }
    }

    /// <summary>An exec for a phase; idle graph instances make room for it where needed.</summary>
    public Exec NewExec(long bytes)
    {
        if (bytes > parts.Device.Info.FreeBytes)
        {
            parts.Graphs.Trim();
        }
        Exec exec = Exec.Create(parts.Device, bytes);
        exec.Cancellation = cancellation;
        exec.OpCompleted = meter.OnOp;
        return exec;
    }

    /// <summary>Waits for the device and looks at the values.</summary>
    /// <exception cref="NonFiniteException">They are not all finite.</exception>
    public void RequireFinite(Exec exec, Tensor tensor, string what, DType dtype, string when)
    {
        if (!exec.IsFinite(tensor))
        {
            throw new NonFiniteException($"{what} are not finite after {when} (computed in {dtype} on {parts.Device}). "
                + "Try --dtype fp32, another scheduler or a lower guidance scale; damaged weights also do this.");
        }
    }

    /// <summary>A fault of a device that works behind the calls shows late: say at least in which phase.</summary>
    public T NamingFaults<T>(Func<T> work)
    {
        try
        {
            return work();
        }
        catch (DeviceFaultException fault)
        {
            string advice = IsQueued && !fault.Message.Contains("SDN_CUDA_SYNC", StringComparison.Ordinal) ? "; run again with SDN_CUDA_SYNC=1 to learn which op it was" : "";
            throw new DeviceFaultException($"{fault.Message} (noticed during {Where}{advice})", fault);
        }
    }
}
