using StableDiffusion.Models.Unet;
using StableDiffusion.Native;
using StableDiffusion.Nn;

namespace StableDiffusion.Pipelines;

/// <summary>What a graph instance was recorded for; another generation may rent it when all of this is the same.</summary>
/// <param name="Unet">The weights.</param>
/// <param name="Samples">Entries of the model input.</param>
/// <param name="Batch">Entries of the context and the prediction.</param>
/// <param name="Height">Of the latents.</param>
/// <param name="Width">Of the latents.</param>
/// <param name="Tokens">Length of the context.</param>
internal sealed record UnetGraphKey(UNet2DConditionModel Unet, int Samples, int Batch, int Height, int Width, int Tokens)
{
    /// <summary>That of a loop's calls.</summary>
    public static UnetGraphKey Of(PipelineComponents parts, GenerationShape shape) =>
        new(parts.Unet, shape.SampleBatch, shape.UnetBatch, shape.Height, shape.Width, shape.Tokens);
}

/// <summary>
/// One evaluation of a UNet, recorded as a graph: its private arena, and fixed memory for the inputs (model input, what the timestep adds, keys and
/// values of the prompt) and the prediction. One generation at a time.
/// </summary>
internal sealed class UnetGraph : IDisposable
{
    private readonly List<DeviceTensor> _buffers = [];
    private readonly Exec _work;
    private readonly UnetContext _context;
    private readonly Graph _graph;

    /// <summary>Takes the memory, runs once eagerly, then records.</summary>
    /// <param name="key">What for.</param>
    /// <param name="device">Where the weights are.</param>
    /// <param name="shapes">A context of the prompt's shapes.</param>
    /// <param name="cancellation">Stops it.</param>
    /// <exception cref="OutOfDeviceMemoryException">It does not fit.</exception>
    public UnetGraph(UnetGraphKey key, Device device, UnetContext shapes, CancellationToken cancellation)
    {
        Key = key;
        (long arenaBytes, _) = MeasureForward(key, device, shapes);
        try
        {
            _work = Exec.Create(device, arenaBytes);
            _work.Cancellation = cancellation;
            Sample = Zeros(key.Unet.ActivationDType, key.Samples, key.Height, key.Width, key.Unet.Config.InChannels);
            Time = Zeros(key.Unet.ActivationDType, 1, key.Unet.TimeRow(shapes));
            _context = shapes.Like(tensor => Zeros(tensor.DType, tensor.Shape));
            TimeContext time = key.Unet.TimeOf(Time);
            key.Unet.Forward(_work, Sample, time, _context).Dispose();
            _work.Synchronize();
            _graph = _work.Capture(() => Prediction = key.Unet.Forward(_work, Sample, time, _context));
            _work.Cancellation = default;
            Bytes = arenaBytes + _buffers.Sum(buffer => buffer.Tensor.Bytes);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>What it was recorded for.</summary>
    public UnetGraphKey Key { get; }

    /// <summary>Device memory it holds.</summary>
    public long Bytes { get; }

    /// <summary>Where the model input goes, <c>[S,H,W,C]</c> in the UNet's activation type.</summary>
    public Tensor Sample { get; }

    /// <summary>Where a step's row of the schedule goes.</summary>
    public Tensor Time { get; }

    /// <summary>Where the prediction is after a launch, until the next.</summary>
    public Tensor Prediction { get; private set; }

    /// <summary>Memory and arithmetic of an instance, without making one.</summary>
    public static MemoryPlan.Cost Measure(PipelineComponents parts, GenerationShape shape, UnetContext context)
    {
        var key = UnetGraphKey.Of(parts, shape);
        (long arenaBytes, double flops) = MeasureForward(key, parts.Device, context);
        long buffers = (4L * ((key.Samples * key.Height * key.Width * shape.InputChannels) + parts.Unet.TimeRow(context))) + context.Tensors.Sum(tensor => tensor.Bytes);
        return new MemoryPlan.Cost(arenaBytes + buffers, flops);
    }

    /// <summary>Takes over the keys and values of a prompt, in the order of the exec's ops.</summary>
    public void SetContext(Exec exec, UnetContext context)
    {
        foreach ((Tensor target, Tensor source) in _context.Tensors.Zip(context.Tensors))
        {
            exec.Copy(target, source);
        }
    }

    /// <summary>Queues the evaluation on an exec.</summary>
    public void Launch(Exec exec) => _graph.Launch(exec);

    /// <summary>Waits until it is not running, then frees its memory.</summary>
    public void Dispose()
    {
        _graph?.Dispose();
        _work?.Dispose();
        _buffers.ForEach(buffer => buffer.Dispose());
    }

    /// <summary>The peak of the arena and the arithmetic of one evaluation whose inputs lie outside of the arena.</summary>
    private static (long ArenaBytes, double Flops) MeasureForward(UnetGraphKey key, Device device, UnetContext shapes)
    {
        using Exec exec = Exec.Measure(device);
        Tensor sample = exec.Alloc(key.Unet.ActivationDType, key.Samples, key.Height, key.Width, key.Unet.Config.InChannels), time = exec.Alloc(key.Unet.ActivationDType, 1, key.Unet.TimeRow(shapes));
        UnetContext context = shapes.Like(tensor => exec.Alloc(tensor.DType, tensor.Shape));
        // Without gaps at the arena's beginning: the evaluation finds the same arena behind them as it will find empty.
        long inputs = exec.Stats.LiveBytes;
        key.Unet.Forward(exec, sample, key.Unet.TimeOf(time), context).Dispose();
        return (exec.Stats.PeakBytes - inputs, exec.Stats.Flops);
    }

    private Tensor Zeros(DType dtype, params ReadOnlySpan<long> shape)
    {
        var buffer = new DeviceTensor(_work.Device, dtype, shape);
        _buffers.Add(buffer);
        _work.Write<byte>(buffer.Tensor, new byte[buffer.Tensor.Bytes]);
        return buffer.Tensor;
    }
}
