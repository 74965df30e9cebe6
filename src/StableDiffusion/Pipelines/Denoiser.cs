using StableDiffusion.Models.Unet;
using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>The UNet as the steps of one generation call it, with the prompt's keys and values in place.</summary>
internal interface IDenoiser : IDisposable
{
    /// <summary>The sizes it was made for.</summary>
    GenerationShape Shape { get; }

    /// <summary>Where the model input goes, <c>[S,H,W,C]</c>.</summary>
    Tensor Sample { get; }

    /// <summary>Evaluates the UNet for a call of the schedule, counted from 0; the prediction, like the model input, stays until the next call.</summary>
    Tensor Predict(int call);
}

/// <summary>Calls the UNet op by op, with its input in the arena, as <see cref="MemoryPlan"/> measures it.</summary>
internal sealed class EagerDenoiser : IDenoiser
{
    private readonly Exec _exec;
    private readonly UNet2DConditionModel _unet;
    private readonly UnetContext _context;
    private readonly UnetSchedule _schedule;
    private Tensor _prediction;

    /// <summary>The context must outlive it.</summary>
    public EagerDenoiser(Exec exec, UNet2DConditionModel unet, UnetContext context, GenerationShape shape, ReadOnlySpan<float> timesteps)
    {
        (_exec, _unet, _context, Shape) = (exec, unet, context, shape);
        _schedule = unet.PrepareSchedule(exec, timesteps, context);
        Sample = exec.Alloc(unet.ActivationDType, shape.SampleBatch, shape.Height, shape.Width, shape.InputChannels);
    }

    /// <inheritdoc />
    public GenerationShape Shape { get; }

    /// <inheritdoc />
    public Tensor Sample { get; }

    /// <inheritdoc />
    public Tensor Predict(int call)
    {
        _prediction.Dispose();
        _prediction = default;
        return _prediction = _unet.Forward(_exec, Sample, _schedule[call], _context);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _prediction.Dispose();
        Sample.Dispose();
        _schedule.Dispose();
    }
}

/// <summary>Launches a rented graph instance.</summary>
internal sealed class GraphDenoiser : IDenoiser
{
    private readonly Exec _exec;
    private readonly UnetGraphPool _pool;
    private readonly UnetSchedule _schedule;
    private readonly UnetGraph _graph;

    /// <summary>Rents the instance, of which a new one takes so many bytes, and copies the context into it.</summary>
    public GraphDenoiser(Exec exec, PipelineComponents parts, UnetContext context, GenerationShape shape, ReadOnlySpan<float> timesteps, long bytes)
    {
        var key = UnetGraphKey.Of(parts, shape);
        (_exec, _pool, Shape) = (exec, parts.Graphs, shape);
        _schedule = parts.Unet.PrepareSchedule(exec, timesteps, context);
        _graph = _pool.Rent(key, bytes, parts.Device, () => new UnetGraph(key, parts.Device, context, exec.Cancellation), exec.Cancellation);
        try
        {
            _graph.SetContext(exec, context);
        }
        catch
        {
            _pool.Return(_graph, failed: true);
            throw;
        }
    }

    /// <inheritdoc />
    public GenerationShape Shape { get; }

    /// <inheritdoc />
    public Tensor Sample => _graph.Sample;

    /// <inheritdoc />
    public Tensor Predict(int call)
    {
        _exec.Copy(_graph.Time, _schedule.Row(call));
        _graph.Launch(_exec);
        return _graph.Prediction;
    }

    /// <summary>Gives the instance back when the device is done with it.</summary>
    public void Dispose()
    {
        bool failed = false;
        try
        {
            _exec.Synchronize();
        }
        catch (Exception e) when (e is NativeException or OperationCanceledException)
        {
            failed = true;
        }
        _schedule.Dispose();
        _pool.Return(_graph, failed);
    }
}
