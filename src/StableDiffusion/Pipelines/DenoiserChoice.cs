using StableDiffusion.Models.Unet;
using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>
/// The denoiser for the calls with guidance or for those without, one at a time: changing from one to the other gives the first back, so that a loop never
/// holds one graph instance while it waits for another.
/// </summary>
internal sealed class DenoiserChoice(Exec exec, PipelineComponents parts, MemoryPlan plan, UnetContext context, float[] timesteps, ModelInput input) : IDisposable
{
    private IDenoiser? _current;

    /// <summary>The denoiser for a call.</summary>
    public IDenoiser For(bool guided)
    {
        GenerationShape shape = guided ? plan.Shape : plan.Shape.PromptAlone;
        if (_current?.Shape != shape)
        {
            _current?.Dispose();
            _current = null;
            _current = Make(shape);
            input.WriteExtra(_current);
        }
        return _current;
    }

    /// <inheritdoc />
    public void Dispose() => _current?.Dispose();

    private IDenoiser Make(GenerationShape shape)
    {
        bool whole = shape.UnetBatch == plan.Shape.UnetBatch;
        UnetContext taken = whole ? context : context.Slice(plan.Shape.PromptStart, shape.UnetBatch);
        if (!parts.Device.WorksBehindCalls)
        {
            return new EagerDenoiser(exec, parts.Unet, taken, shape, timesteps);
        }
        var graph = new GraphDenoiser(exec, parts, taken, shape, timesteps, plan.StepBytes(shape));
        if (!plan.SwitchesGuidance)
        {
            // The graph has its own copy; what it was copied from is not needed any more.
            context.Dispose();
        }
        return graph;
    }
}
