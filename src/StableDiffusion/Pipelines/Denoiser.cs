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

    /// <summary>Where the timestep goes, float32 <c>[1]</c>.</summary>
    Tensor Timesteps { get; }

    /// <summary>Evaluates the UNet; the prediction, like the model input, stays until the next call.</summary>
    Tensor Predict();
}

/// <summary>Calls the UNet op by op, with its input in the arena, as <see cref="MemoryPlan"/> measures it.</summary>
internal sealed class EagerDenoiser : IDenoiser
{
    private readonly Exec _exec;
    private readonly UNet2DConditionModel _unet;
    private readonly UnetContext _context;
    private Tensor _prediction;

    /// <summary>The context must outlive it.</summary>
    public EagerDenoiser(Exec exec, UNet2DConditionModel unet, UnetContext context, GenerationShape shape)
    {
        (_exec, _unet, _context, Shape) = (exec, unet, context, shape);
        Sample = exec.Alloc(unet.ActivationDType, shape.SampleBatch, shape.Height, shape.Width, shape.InputChannels);
        Timesteps = exec.Alloc(DType.Float32, 1);
    }

    /// <inheritdoc />
    public GenerationShape Shape { get; }

    /// <inheritdoc />
    public Tensor Sample { get; }

    /// <inheritdoc />
    public Tensor Timesteps { get; }

    /// <inheritdoc />
    public Tensor Predict()
    {
        _prediction.Dispose();
        _prediction = default;
        return _prediction = _unet.Forward(_exec, Sample, Timesteps, _context);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _prediction.Dispose();
        Timesteps.Dispose();
        Sample.Dispose();
    }
}

/// <summary>Launches a rented graph instance.</summary>
internal sealed class GraphDenoiser : IDenoiser
{
    private readonly Exec _exec;
    private readonly UnetGraphPool _pool;
    private readonly UnetGraph _graph;

    /// <summary>Rents the instance, of which a new one takes so many bytes, and copies the context into it.</summary>
    public GraphDenoiser(Exec exec, PipelineComponents parts, UnetContext context, GenerationShape shape, long bytes)
    {
        var key = UnetGraphKey.Of(parts, shape);
        (_exec, _pool, Shape) = (exec, parts.Graphs, shape);
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
    public Tensor Timesteps => _graph.Timesteps;

    /// <inheritdoc />
    public Tensor Predict()
    {
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
        _pool.Return(_graph, failed);
    }
}
