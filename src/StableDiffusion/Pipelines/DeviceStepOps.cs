using StableDiffusion.Native;
using StableDiffusion.Schedulers;

namespace StableDiffusion.Pipelines;

/// <summary>Scheduler steps on the device: each instruction is one op.</summary>
internal sealed class DeviceStepOps(Exec exec) : IStepOps<DeviceTensor>
{
    public DeviceTensor Allocate(DeviceTensor like) => new(exec.Device, like.Tensor.DType, like.Tensor.Shape);

    public void Combine(DeviceTensor target, ReadOnlySpan<DeviceTensor> sources, ReadOnlySpan<double> coefficients)
    {
        var inputs = new Tensor[sources.Length];
        for (int i = 0; i < inputs.Length; i++)
        {
            inputs[i] = sources[i].Tensor;
        }
        exec.LinearCombination(target.Tensor, inputs, coefficients);
    }

    public void Clamp(DeviceTensor target, double low, double high) => exec.Clamp(target.Tensor, target.Tensor, (float)low, (float)high);

    public void DynamicThreshold(DeviceTensor target, double ratio, double maxValue) =>
        exec.DynamicThreshold(target.Tensor, target.Tensor, (float)ratio, (float)maxValue);

    public void Release(DeviceTensor tensor) => tensor.Dispose();
}
