using StableDiffusion.Native;

namespace StableDiffusion.Pipelines;

/// <summary>
/// The UNet's input: the latents times the scheduler's factor and the channels beside them, which stay the same over all steps. Once for all parts of the batch, or once
/// per part where their channels differ.
/// </summary>
internal sealed class ModelInput : IDisposable
{
    private readonly Exec _exec;
    private readonly GenerationShape _shape;
    private readonly DeviceTensor? _extra, _scaled;

    /// <summary>Uploads the channels beside the latents.</summary>
    /// <param name="exec">Where it runs.</param>
    /// <param name="device">Where the UNet is.</param>
    /// <param name="shape">Of the guided calls.</param>
    /// <param name="extra">One entry per entry of the input, <c>[N,X,h,w]</c>, or null.</param>
    public ModelInput(Exec exec, Device device, GenerationShape shape, FloatTensor? extra)
    {
        (_exec, _shape) = (exec, shape);
        if (extra is not null)
        {
            _extra = new DeviceTensor(device, DType.Float32, shape.SampleBatch, shape.Height, shape.Width, shape.ExtraChannels);
            _scaled = new DeviceTensor(device, DType.Float32, shape.Images, shape.Height, shape.Width, shape.Channels);
            exec.Write<float>(_extra.Tensor, extra.ToChannelsLast());
        }
    }

    /// <summary>Writes the channels beside the latents, once for a denoiser: all parts of them, or that of the prompt alone.</summary>
    public void WriteExtra(IDenoiser denoiser)
    {
        if (_extra is not null)
        {
            // Where parts have channels of their own the prompt's come first.
            _exec.Copy(denoiser.Sample.Slice(3, _shape.Channels, _shape.ExtraChannels), _extra.Tensor.Slice(0, 0, denoiser.Shape.SampleBatch));
        }
    }

    /// <summary>Writes the latents of a step, times that factor.</summary>
    public void Write(IDenoiser denoiser, Tensor latents, double scale)
    {
        Tensor sample = denoiser.Sample;
        if (_scaled is not null)
        {
            _exec.LinearCombination(_scaled.Tensor, [latents], [scale]);
        }
        for (int first = 0; first < denoiser.Shape.SampleBatch; first += _shape.Images)
        {
            Tensor target = sample.Slice(0, first, _shape.Images);
            if (_scaled is null)
            {
                _exec.LinearCombination(target, [latents], [scale]);
            }
            else
            {
                _exec.Copy(target.Slice(3, 0, _shape.Channels), _scaled.Tensor);
            }
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _extra?.Dispose();
        _scaled?.Dispose();
    }
}
